"""What steering vectors are: their length, and the tokens that a step along them raises and lowers."""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import Tensor

from mechtui.engine.api import Answers, EditError, Need, OpenSession, direction, length, typical
from mechtui.session.document import Token, Vector
from mechtui.session.sites import hook
from mechtui.views.vectors import MOST_TOKENS, VectorMeaning, Vectors, VectorsAnswer


def needs(question: Vectors, opened: OpenSession) -> list[Need]:
    return []


def answers(question: Vectors, opened: OpenSession) -> Answers:
    yield VectorsAnswer(tuple(_meaning(opened, vector) for vector in opened.session.vectors)), None, False


@torch.inference_mode()
def _meaning(opened: OpenSession, vector: Vector) -> VectorMeaning:
    try:
        value = opened.vector(vector)
    except EditError as error:
        return VectorMeaning(vector.name, problem=str(error))
    change = _logit_change(opened, direction(value))
    most = min(MOST_TOKENS, change.shape[0])
    return VectorMeaning(
        vector.name,
        length(value),
        typical(_read_from(opened, vector)),
        _tokens(opened, change, change.topk(most).indices),
        _tokens(opened, change, (-change).topk(most).indices),
    )


def _logit_change(opened: OpenSession, unit: Tensor) -> Tensor:
    """[d_vocab]: what the unembedding reads of a unit vector, with the final norm's centring and weight but
    not its scale, which depends on the rest of the stream."""
    readout = opened.readout
    with suppress(ValueError):  # a norm of an unknown kind: what the unembedding reads of the vector as it is
        unit = readout.norm().linear(unit)
    return readout.reads(unit)


def _read_from(opened: OpenSession, vector: Vector) -> Tensor:
    """Norms [pos] of the clean residual stream where the vector was read."""
    last = opened.shape.n_layers - 1
    layer, part = vector.layer, vector.part
    if vector.source == "neuron":
        part = "post"
    elif vector.source in ("token", "file"):
        layer, part = last, "post"
    where = hook(layer, "post" if part in ("mid", "mlp", "attn") else part)
    return opened.clean.take(Need(where, "norm"))


def _tokens(opened: OpenSession, change: Tensor, ids: Tensor) -> tuple[tuple[Token, float], ...]:
    return tuple((opened.token(int(id)), float(change[id])) for id in ids)
