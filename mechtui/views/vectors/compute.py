"""What steering vectors are: their length, and the tokens that a step along them raises and lowers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import torch
from torch import Tensor

from mechtui.engine.api import Answers, EditError, Need, OpenSession, direction, length, typical
from mechtui.session.document import Token, Vector
from mechtui.session.sites import hook
from mechtui.views.vectors import MOST_TOKENS, VectorMeaning, Vectors, VectorsAnswer


def needs(question: Vectors, opened: OpenSession) -> list[Need]:
    return []


def answers(question: Vectors, opened: OpenSession) -> Answers:
    vectors, told = opened.session.vectors, opened.progress
    meanings: list[VectorMeaning] = []
    try:
        for number, vector in enumerate(vectors):
            opened.progress = partial(_within, told, number, len(vectors))
            meanings.append(_meaning(opened, vector))
            if number + 1 < len(vectors):
                # One that takes long to read does not keep those before it from the screen.
                yield VectorsAnswer(tuple(meanings)), None, True
    finally:
        opened.progress = told
    yield VectorsAnswer(tuple(meanings)), None, False


def _within(told: Callable[[float], None], number: int, count: int, share: float) -> None:
    """Tell how much is done of all when this share is done of one."""
    told((number + share) / count)


@torch.inference_mode()
def _meaning(opened: OpenSession, vector: Vector) -> VectorMeaning:
    try:
        value = opened.vector(vector)
    except EditError as error:
        return VectorMeaning(vector.name, problem=str(error))
    change = _logit_change(opened, direction(value))
    found = opened.separation(vector)
    layer, before = _place(opened, vector)
    stream = opened.clean.take(Need(hook(layer, "pre" if before else "post"), "norm"))
    most = min(MOST_TOKENS, change.shape[0])
    return VectorMeaning(
        vector.name,
        length(value),
        typical(stream),
        _tokens(opened, change, change.topk(most).indices),
        _tokens(opened, change, (-change).topk(most).indices),
        pairs=0 if found is None else found.pairs,
        right=None if found is None else found.right,
        auc=None if found is None else found.auc,
        layer=layer,
    )


def _logit_change(opened: OpenSession, unit: Tensor) -> Tensor:
    """[d_vocab]: what the unembedding reads of a unit vector, with the final norm's centring and weight but
    not its scale, which depends on the rest of the stream."""
    readout = opened.readout
    with suppress(ValueError):  # a norm of an unknown kind: what the unembedding reads of the vector as it is
        unit = readout.norm().linear(unit)
    return readout.reads(unit)


def _place(opened: OpenSession, vector: Vector) -> tuple[int, bool]:
    """The layer in which the vector was read, or is written, and whether before all that the layer does."""
    match vector.source:
        case "neuron":
            return vector.layer, False
        case "feature":
            writes = opened.dictionary(vector.sae).writes
            return writes.layer, writes.part == "pre"
        case "token" | "file":
            return opened.shape.n_layers - 1, False
    return vector.layer, vector.part == "pre"


def _tokens(opened: OpenSession, change: Tensor, ids: Tensor) -> tuple[tuple[Token, float], ...]:
    return tuple((opened.token(int(id)), float(change[id])) for id in ids)
