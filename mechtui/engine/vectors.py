"""Steering vectors: from their line to numbers.

diff: Turner et al. 2023 (activation addition), Rimsky et al. 2024 (contrastive activation addition).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mechtui.engine.actions import Steering
from mechtui.engine.needs import Need
from mechtui.engine.resolve import LAYER_HOOKS, EditError, check_site
from mechtui.engine.weights import unembedding_column, write_vector
from mechtui.session.document import Site, Span, Vector
from mechtui.session.lines import format_vector
from mechtui.session.paths import PathError, reason, to_read
from mechtui.worker.model import TextError

if TYPE_CHECKING:
    from mechtui.engine.engine import Engine


class VectorError(EditError):
    """A steering vector that cannot be made: one sentence that says why."""


def vector_value(engine: Engine, steering: Steering, cancelled: Callable[[], bool]) -> Tensor:
    """[d_model] float32 on the model's device: finite, and longer than 0. Raises VectorError."""
    if steering not in engine.vectors:
        vector, value = steering.vector, _made(engine, steering, cancelled)
        if value.shape != (engine.model.shape.d_model,):
            shape, ready = "x".join(str(n) for n in value.shape), engine.model.ready
            raise VectorError(f"{vector.name} has shape {shape}; {ready.name} wants {ready.shape.d_model} numbers")
        if not bool(value.isfinite().all()):
            raise VectorError(f"{format_vector(vector)} holds numbers that are not finite (NaN or infinite)")
        if not length(value) > 0:
            raise VectorError(f"{format_vector(vector)} is zero everywhere, so it points nowhere")
        engine.vectors[steering] = direction(value) if vector.unit else value
    return engine.vectors[steering]


def _made(engine: Engine, steering: Steering, cancelled: Callable[[], bool]) -> Tensor:
    vector = steering.vector
    if vector.source not in ("token", "file"):
        try:
            check_site(_site(vector), engine.model.ready)
        except EditError as error:
            raise VectorError(f"{vector.name}: {error}") from error

    def read(text: str) -> Tensor:
        return _activation(engine, steering, text, cancelled)

    match vector.source:
        case "diff":
            pairs = torch.stack([read(text) for pair in vector.pairs for text in pair]).view(len(vector.pairs), 2, -1)
            difference = (pairs[:, 0] - pairs[:, 1]).mean(0)
            if length(difference) <= rounding(engine) * length(pairs) / len(vector.pairs):
                raise VectorError(
                    f"{format_vector(vector)}: both sides have the same activation, so there is no difference"
                )
            return difference
        case "pca":
            rows = torch.stack([read(text) for text in vector.texts])
            _, spread, directions = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
            least = rounding(engine) * length(rows)
            if spread[0] <= least:
                raise VectorError(
                    f"{format_vector(vector)}: its texts have the same activation, so there is no direction in which "
                    "they differ"
                )
            if spread[0] - spread[1] <= least:
                raise VectorError(
                    f"{format_vector(vector)}: its texts differ as much in two directions, so none is the first"
                )
            first = directions[0]
            # A principal direction has no sign of its own: its largest component is made positive.
            signed: Tensor = first * torch.sign(first[first.abs().argmax()])
            return signed
        case "neuron":
            return write_vector(engine.model.bridge, vector.layer, vector.index)
        case "token":
            try:
                token = engine.model.single(vector.texts[0])
            except ValueError as error:
                raise VectorError(f"{vector.name}: {error}") from error
            return unembedding_column(engine.model.bridge, token)
        case "file":
            return _read(vector).to(engine.model.device)


def _site(vector: Vector) -> Site:
    """Where in the model the vector is read."""
    layers = Span(vector.layer, vector.layer)
    if vector.source == "neuron":
        return Site("neuron", layers, Span(vector.index, vector.index))
    return Site("layer", layers, part=vector.part)


def rounding(engine: Engine) -> float:
    """What two activations that are the same may differ by, as a share of their length: runs of the same text in
    other batches, or resumed elsewhere, round differently."""
    return max(1e-5, 4 * torch.finfo(engine.model.dtype).eps)


def length(value: Tensor) -> float:
    """The L2 norm, of numbers however small or large: their squares alone could be 0 or infinite."""
    most = float(value.abs().max())
    return most * float((value / most).norm()) if most else 0.0


def direction(value: Tensor) -> Tensor:
    """The vector at length 1."""
    scaled = value / value.abs().max()
    unit: Tensor = scaled / scaled.norm()
    return unit


def _activation(engine: Engine, steering: Steering, text: str, cancelled: Callable[[], bool]) -> Tensor:
    vector = steering.vector
    try:
        ids = tuple(engine.model.encode(text, "yes" if steering.bos else "no"))
    except TextError as error:
        raise VectorError(f'{vector.name}: "{text}" {error}') from error
    if not ids:
        raise VectorError(f'{vector.name}: "{text}" has no tokens')
    position = vector.position
    if position is not None and position < 0:
        position += len(ids)
    if position is not None and not 0 <= position < len(ids):
        raise VectorError(f'{vector.name}: "{text}" has {len(ids)} tokens, so there is no position {vector.position}')
    if len(ids) > engine.model.shape.n_ctx:
        name, most = engine.model.ready.name, engine.model.shape.n_ctx
        raise VectorError(f"{vector.name}: a text has {len(ids)} tokens and {name} reads {most:,}")
    hook = f"blocks.{vector.layer}.{LAYER_HOOKS[vector.part]}"
    need = Need(hook) if position is None else Need(hook, "at", position)
    activation = engine.take(engine.run(ids, (), [need], cancelled), need).float()
    if not bool(activation.isfinite().all()):
        raise VectorError(f'{vector.name}: the activation of "{text}" is not finite in {engine.model.ready.dtype}')
    return activation.mean(0) if position is None else activation


def _read(vector: Vector) -> Tensor:
    try:
        with safe_open(to_read(vector.path), framework="pt") as file:
            names = list(file.keys())
            if vector.key not in names:
                raise VectorError(f"{vector.name}: {vector.path} holds {', '.join(names)}, but no {vector.key}")
            value: Tensor = file.get_tensor(vector.key)
            return value.float()
    except PathError as error:
        raise VectorError(f"{vector.name}: {error}") from error
    except OSError as error:
        raise VectorError(f"{vector.name}: {vector.path} cannot be read: {reason(error)}") from error
    except SafetensorError as error:
        raise VectorError(f"{vector.name}: {vector.path} is no safetensors file ({error})") from error
