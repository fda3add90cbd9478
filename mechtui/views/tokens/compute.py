"""The prompt's tokens and their surprise, from a run."""

from __future__ import annotations

import numpy as np

from mechtui.engine import Answers, Need, Opened
from mechtui.views.tokens import Tokens, TokensAnswer


def needs(question: Tokens, opened: Opened) -> list[Need]:
    return []


def answers(question: Tokens, opened: Opened) -> Answers:
    """Of the clean run only: how the model reads the text, before anything is done to it."""
    bos = len(opened.ids) - len(opened.model.encode(opened.session.prompt, "no"))
    yield (
        TokensAnswer(
            opened.tokens,
            bos,
            opened.engine.surprise(opened.clean.trace).numpy().astype(np.float32),
            tuple(opened.model.token(id) for id in opened.source_ids),
            opened.alignment,
        ),
        None,
        False,
    )
