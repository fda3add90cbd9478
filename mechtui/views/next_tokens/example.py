"""A model that says Mary, and with the edits rather John."""

from __future__ import annotations

import numpy as np

from mechtui.views.example import COUNT, NEXT, Example
from mechtui.views.next_tokens import Candidate, NextTokens, NextTokensAnswer

LOGITS = np.array([16.2, 12.9, 12.4, 11.8, 11.1, 10.9, 10.2, 9.8, 9.1, 8.6, 8.2, 7.9])

LINES = ("next_tokens", "next_tokens @3 top4")


def example() -> Example:
    edited = LOGITS.copy()
    edited[:2] = 13.1, 14.4
    return Example(NextTokens(), _answer(LOGITS), _answer(edited))


def _answer(logits: np.ndarray) -> NextTokensAnswer:
    """logits: of the tokens in NEXT, which share all probability."""
    probs = np.exp(logits) / np.exp(logits).sum()
    ranks = np.argsort(np.argsort(-logits))
    all_of_them = [Candidate(NEXT[i], float(logits[i]), float(probs[i]), int(ranks[i])) for i in range(len(NEXT))]
    best = sorted(all_of_them, key=lambda candidate: candidate.rank)[: NextTokens().top]
    answer, foil = all_of_them[:2]
    entropy = float(-(probs * np.log(probs)).sum())
    return NextTokensAnswer(COUNT - 1, tuple(best), (), answer, foil, False, answer.logit - foil.logit, entropy)
