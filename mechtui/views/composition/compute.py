"""Composition of all pairs of heads, from the model's weights, and from what they wrote on this prompt."""

from __future__ import annotations

import numpy as np

from mechtui.engine.api import Answers, Contributions, EditError, Need, OpenSession, Run, SessionError, each
from mechtui.none import NONE
from mechtui.views.composition import Composition, CompositionAnswer


def needs(question: Composition, opened: OpenSession) -> list[Need]:
    return _patterns(opened, opened.position(question.position))


def _patterns(opened: OpenSession, query: int) -> list[Need]:
    return [Need(f"blocks.{layer}.attn.hook_pattern", "at", query) for layer in range(opened.shape.n_layers)]


def answers(question: Composition, opened: OpenSession) -> Answers:
    values, baseline, spread = opened.composition(question.kind)
    query = opened.position(question.position)
    nothing = np.full(len(values), NONE, dtype=np.float32)

    def answer(run: Run) -> CompositionAnswer:
        refused = ""
        keys: tuple[int, ...] = ()
        try:
            keys = _keys(question, opened, query)
            found = opened.contributions(run, question.kind, query, keys)
        except (SessionError, EditError) as error:
            refused, found = str(error), Contributions(np.full_like(values, NONE), nothing)
        return CompositionAnswer(
            question.kind,
            values - baseline,
            baseline,
            spread,
            opened.shape.n_heads,
            found.values,
            query,
            keys,
            found.score,
            refused,
        )

    yield from each(opened, answer, question)


def _keys(question: Composition, opened: OpenSession, query: int) -> tuple[int, ...]:
    """Of each head the key that it is looked at with: the one that was asked for, else where it attends most in the
    clean run. Raises SessionError."""
    shape = opened.shape
    if question.key is None:
        rows = [opened.clean.take(need).argmax(-1) for need in _patterns(opened, query)]
        return tuple(int(key) for row in rows for key in row)
    key = opened.position(question.key)
    if key > query:
        raise SessionError(f"position {query} cannot see position {key}, which comes later")
    return (key,) * (shape.n_layers * shape.n_heads)
