"""Every edit on its own, as one batch of variants of the clean run."""

from __future__ import annotations

import math

from mechtui.engine.api import Answers, Need, OpenSession, SessionError, length, typical
from mechtui.views.effects import Effects, EffectsAnswer


def needs(question: Effects, opened: OpenSession) -> list[Need]:
    return []


def answers(question: Effects, opened: OpenSession) -> Answers:
    position = opened.position(question.position)
    answer, foil = opened.targets_at(position)
    count = len(opened.session.edits)
    if answer is None or foil is None:
        yield EffectsAnswer(None, (None,) * count, (None,) * count, position), None, False
        return
    clean = opened.clean.logits([position])[0]
    baseline = float(clean[answer] - clean[foil])
    possible = [number for number in range(count) if opened.hook_edits(number) is not None]
    variants = [opened.hook_edits(number) or () for number in possible]
    effect: list[float | None] = [None] * count
    results = opened.clean.variants(variants, position)
    for number, logits in zip(possible, results, strict=True):
        change = float(logits[answer] - logits[foil]) - baseline
        effect[number] = change if math.isfinite(change) or opened.model.ready.odd else None
    share = tuple(_share(opened, number) for number in range(count))
    yield EffectsAnswer(baseline, tuple(effect), share, position, _together(opened, position, baseline)), None, False


def _together(opened: OpenSession, position: int, baseline: float) -> float | None:
    """What all edits that are on change at once; None without any, or where their run is not finite."""
    answer, foil = opened.targets_at(position)
    try:
        edited = opened.edited
    except SessionError:
        return None
    if edited is None or answer is None or foil is None:
        return None
    logits = edited.logits([position])[0]
    return float(logits[answer] - logits[foil]) - baseline


def _share(opened: OpenSession, number: int) -> float | None:
    """What an `add` adds, over the median L2 norm of the clean activation that it adds it to."""
    edit, hook_edits = opened.session.edits[number], opened.hook_edits(number)
    first = hook_edits[0] if hook_edits else None
    if edit.op != "add" or first is None or first.vector is None:
        return None
    norms = opened.clean.take(Need(first.hook, "norm"))[first.positions]
    added = abs(first.factor) * length(opened.vector(first.vector))
    return added / typical(norms)
