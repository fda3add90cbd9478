"""Principal components of what a layer makes of some words, each in a run of its own, with the session's edits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mechtui.engine.api import Answers, EditError, Ids, Need, OpenSession, Run, SessionError, in_order
from mechtui.session.document import Edit, Site, Span
from mechtui.session.grammar.edits import format_edit
from mechtui.session.grammar.words import short
from mechtui.session.sites import hook
from mechtui.views.geometry import COMPONENTS, Geometry, GeometryAnswer


def needs(question: Geometry, opened: OpenSession) -> list[Need]:
    return []


def answers(question: Geometry, opened: OpenSession) -> Answers:
    layer = question.at if question.at >= 0 else opened.shape.n_layers // 2
    opened.check_site(Site("layer", Span(layer, layer), part=question.part))
    texts = tuple(_ids(opened, text) for text in question.texts)
    acting, left_out = _acting(opened, texts)
    where = f"L{layer}.{question.part}"

    def read(edits: tuple[Edit, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """The activations, and their axes. The prompt has no part in them, so that they stay while one types."""
        made = in_order(each for edit in edits for each in opened.hook_edits_elsewhere(edit, texts[0]))
        key = (Geometry, texts, where, made, bool(made) and opened.session.linear)
        rows = opened.once(key, lambda: _read(opened, texts, edits, layer, question))
        return rows, *_axes(rows, opened, where)

    clean, _, clean_axes = read(())

    def answer(rows: Tensor, spread: Tensor, axes: Tensor) -> GeometryAnswer:
        shown = slice(min(COMPONENTS, len(rows) - 1))
        return GeometryAnswer(
            question.shown_words,
            layer,
            question.part,
            _small(spread[shown] ** 2 / (spread**2).sum()),
            _small((rows - rows.mean(0)) @ axes[shown].T),
            _small((rows - clean.mean(0)) @ clean_axes[shown].T),
            left_out,
        )

    yield answer(*read(())), answer(*read(acting)) if acting else None, False


def _small(values: Tensor) -> np.ndarray:
    return np.asarray(values.float().numpy())


def _ids(opened: OpenSession, text: str) -> Ids:
    """Raises SessionError."""
    front, ids = opened.text_ids(text, f'"{short(text)}"')
    most = opened.shape.n_ctx
    if not ids:
        raise SessionError(f'"{short(text)}" has no tokens')
    if len(front) + len(ids) > most:
        raise SessionError(f'"{short(text)}" has {len(ids):,} tokens and {opened.ready.name} reads {most:,}')
    return (*front, *ids)


def _acting(opened: OpenSession, texts: Sequence[Ids]) -> tuple[tuple[Edit, ...], tuple[str, ...]]:
    """The edits that are on and mean something in every text; the others, with the reason."""
    acting, left_out = [], []
    for edit in opened.applied:
        try:
            for ids in texts:
                opened.hook_edits_elsewhere(edit, ids)
            acting.append(edit)
        except EditError as error:
            left_out.append(f"{format_edit(edit)}: {error}")
    return tuple(acting), tuple(left_out)


@torch.inference_mode()
def _read(opened: OpenSession, texts: Sequence[Ids], edits: Sequence[Edit], layer: int, question: Geometry) -> Tensor:
    """[word, d_model] float64, on the CPU. Raises Cancelled, SessionError."""
    rows = []
    for number, ids in enumerate(texts):
        opened.check_cancelled()
        made = tuple(each for edit in edits for each in opened.hook_edits_elsewhere(edit, ids))
        run: Run = opened.run_once(ids, made)
        found = run.take(Need(hook(layer, question.part), "at", len(ids) - 1)).cpu().double()
        if not bool(found.isfinite().all()):
            raise SessionError(f"the activation of {question.shown_words[number]!r} is not finite at L{layer}")
        rows.append(found)
    return torch.stack(rows)


def _axes(rows: Tensor, opened: OpenSession, where: str) -> tuple[Tensor, Tensor]:
    """Singular values, and directions [component, d_model], float64. Raises SessionError where there is no spread."""
    _, spread, directions = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    least = max(1e-5, 4 * torch.finfo(opened.dtype).eps) * float(torch.linalg.vector_norm(rows))
    if not float(spread[0]) > least:
        raise SessionError(
            f"all words have the same activation at {where}, so there is no direction in which they differ"
        )
    # A component has no sign of its own: its largest number is made positive, as of a steering vector.
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return spread, directions * largest.sign()
