"""The prompt's tokens and their surprise, from a run."""

from __future__ import annotations

import numpy as np

from mechtui.engine.api import Answers, Need, OpenSession
from mechtui.views.tokens import Tokens, TokensAnswer


def needs(question: Tokens, opened: OpenSession) -> list[Need]:
    return []


def answers(question: Tokens, opened: OpenSession) -> Answers:
    """Of the clean run only: how the model reads the text, before anything is done to it."""
    bos = len(opened.ids) - len(opened.model.encode(opened.session.prompt, "no"))
    yield (
        TokensAnswer(
            opened.tokens,
            bos,
            opened.clean.surprise().numpy().astype(np.float32),
            tuple(opened.token(id) for id in opened.source_ids),
            opened.alignment,
        ),
        None,
        False,
    )
