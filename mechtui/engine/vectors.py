"""Steering vectors: from their line to numbers.

diff: Turner et al. 2023 (activation addition), Rimsky et al. 2024 (contrastive activation addition).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mechtui.engine import vector_files
from mechtui.engine.errors import TextError
from mechtui.engine.model import Model
from mechtui.engine.needs import Need
from mechtui.engine.vector_files import VectorError
from mechtui.engine.weights import unembedding_column, write_vector
from mechtui.session.document import Site, Span, Vector
from mechtui.session.grammar.vectors import format_vector
from mechtui.session.hook_edits import EditError, Ids, Steering
from mechtui.session.resolve import check_site
from mechtui.session.sites import hook

# (ids, need, cancelled) -> what a need names of the clean run of these tokens. Raises Cancelled.
Read = Callable[[Ids, Need, Callable[[], bool]], Tensor]


def steering(vector: Vector, bos: bool) -> Steering:
    """The vector as it stands now. bos: whether the session's texts begin with BOS."""
    return Steering(
        vector,
        bos and vector.source in ("diff", "pca"),
        vector_files.state(vector.path) if vector.source == "file" else (),
    )


class Vectors:
    """The steering vectors of one model, as far as they were made. read: what takes an activation from a clean run."""

    def __init__(self, model: Model, read: Read) -> None:
        self.model = model
        self._read = read
        self._made: dict[Steering, Tensor] = {}

    def value(self, steering: Steering, cancelled: Callable[[], bool]) -> Tensor:
        """[d_model] float32 on the model's device: finite, and longer than 0. Raises VectorError."""
        if steering not in self._made:
            vector, value = steering.vector, self._make(steering, cancelled)
            if value.shape != (self.model.shape.d_model,):
                shape, ready = "x".join(str(n) for n in value.shape), self.model.ready
                raise VectorError(f"{vector.name} has shape {shape}; {ready.name} wants {ready.shape.d_model} numbers")
            if not bool(value.isfinite().all()):
                raise VectorError(f"{format_vector(vector)} holds numbers that are not finite (NaN or infinite)")
            if not length(value) > 0:
                raise VectorError(f"{format_vector(vector)} is zero everywhere, so it points nowhere")
            self._made[steering] = direction(value) if vector.unit else value
        return self._made[steering]

    def forget(self) -> None:
        """The next use makes each from its line once more."""
        self._made.clear()

    def _make(self, steering: Steering, cancelled: Callable[[], bool]) -> Tensor:
        vector = steering.vector
        if vector.source not in ("token", "file"):
            try:
                check_site(_site(vector), self.model.ready)
            except EditError as error:
                raise VectorError(f"{vector.name}: {error}") from error

        def read(text: str) -> Tensor:
            return self._activation(steering, text, cancelled)

        match vector.source:
            case "diff":
                read_pairs = [read(text) for pair in vector.pairs for text in pair]
                pairs = torch.stack(read_pairs).view(len(vector.pairs), 2, -1)
                difference = (pairs[:, 0] - pairs[:, 1]).mean(0)
                if length(difference) <= self._rounding * length(pairs) / len(vector.pairs):
                    raise VectorError(
                        f"{format_vector(vector)}: both sides have the same activation, so there is no difference"
                    )
                return difference
            case "pca":
                rows = torch.stack([read(text) for text in vector.texts])
                _, spread, directions = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
                least = self._rounding * length(rows)
                if spread[0] <= least:
                    raise VectorError(
                        f"{format_vector(vector)}: its texts have the same activation, so there is no direction in "
                        "which they differ"
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
                return write_vector(self.model.bridge, vector.layer, vector.index)
            case "token":
                try:
                    token = self.model.single(vector.texts[0])
                except ValueError as error:
                    raise VectorError(f"{vector.name}: {error}") from error
                return unembedding_column(self.model.bridge, token)
            case "file":
                return vector_files.read(vector).to(self.model.device)

    @property
    def _rounding(self) -> float:
        """What two activations that are the same may differ by, as a share of their length: runs of the same text in
        other batches, or resumed elsewhere, round differently."""
        return max(1e-5, 4 * torch.finfo(self.model.dtype).eps)

    def _activation(self, steering: Steering, text: str, cancelled: Callable[[], bool]) -> Tensor:
        vector = steering.vector
        try:
            ids = tuple(self.model.encode(text, "yes" if steering.bos else "no"))
        except TextError as error:
            raise VectorError(f'{vector.name}: "{text}" {error}') from error
        if not ids:
            raise VectorError(f'{vector.name}: "{text}" has no tokens')
        position = vector.position
        if position is not None and position < 0:
            position += len(ids)
        if position is not None and not 0 <= position < len(ids):
            raise VectorError(
                f'{vector.name}: "{text}" has {len(ids)} tokens, so there is no position {vector.position}'
            )
        if len(ids) > self.model.shape.n_ctx:
            name, most = self.model.ready.name, self.model.shape.n_ctx
            raise VectorError(f"{vector.name}: a text has {len(ids)} tokens and {name} reads {most:,}")
        where = hook(vector.layer, vector.part)
        need = Need(where) if position is None else Need(where, "at", position)
        activation = self._read(ids, need, cancelled).float()
        if not bool(activation.isfinite().all()):
            raise VectorError(f'{vector.name}: the activation of "{text}" is not finite in {self.model.ready.dtype}')
        return activation.mean(0) if position is None else activation


def _site(vector: Vector) -> Site:
    """Where in the model the vector is read."""
    layers = Span(vector.layer, vector.layer)
    if vector.source == "neuron":
        return Site("neuron", layers, Span(vector.index, vector.index))
    return Site("layer", layers, part=vector.part)


def length(value: Tensor) -> float:
    """The L2 norm, of numbers however small or large: their squares alone could be 0 or infinite."""
    most = float(value.abs().max())
    return most * float((value / most).norm()) if most else 0.0


def typical(lengths: Tensor) -> float:
    """The median. A mean says nothing of activations: the first token's is often a hundred times as long as others'."""
    return float(lengths.float().quantile(0.5))


def direction(value: Tensor) -> Tensor:
    """The vector at length 1."""
    scaled = value / value.abs().max()
    unit: Tensor = scaled / scaled.norm()
    return unit
