"""Steering vectors: from their line to numbers.

diff: Turner et al. 2023 (activation addition), Rimsky et al. 2024 (contrastive activation addition).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mechtui.engine import vector_files
from mechtui.engine.dictionaries import Dictionaries, DictionaryError
from mechtui.engine.forward.forward import Forward
from mechtui.engine.lengths import direction, length
from mechtui.engine.model import Model
from mechtui.engine.text_readings import TextReadings
from mechtui.engine.vector_files import VectorError
from mechtui.engine.weights import unembedding_column, write_vector
from mechtui.session.document import OF_TEXTS, Site, Span, Vector
from mechtui.session.grammar.saes import format_point
from mechtui.session.grammar.vectors import format_vector
from mechtui.session.hook_edits import EditError, Steering
from mechtui.session.resolve import check_site

# Parts into which pairs are dealt to hold some of them out.
FOLDS = 5


@dataclass(frozen=True)
class Separation:
    """How well a contrast tells texts that it was not made of. Pairs are dealt into FOLDS parts, in turn, and each part
    is projected on the mean difference of the other pairs, from their middle on.

    pairs: how many there are. right: the share of pairs whose first text lies further along. auc: how probable it is
    that a first text lies further along than any second one, ties counted half.
    """

    pairs: int
    right: float
    auc: float


def separation(first: Tensor, second: Tensor) -> Separation | None:
    """first, second: activations [pair, d_model]. None where there are fewer pairs than parts."""
    count = len(first)
    if count < FOLDS:
        return None
    first, second = first.double(), second.double()
    fold = torch.arange(count) % FOLDS
    scores = torch.empty(2, count, dtype=torch.float64)
    for part in range(FOLDS):
        out = fold == part
        ends = [side[~out].mean(0) for side in (first, second)]
        along, middle = ends[0] - ends[1], (ends[0] + ends[1]) / 2
        along = along / along.norm().clamp_min(1e-300)
        scores[:, out] = torch.stack([(side[out] - middle) @ along for side in (first, second)])
    gaps = scores[0][:, None] - scores[1]
    right, auc = ((each > 0).double().mean() + (each == 0).double().mean() / 2 for each in (gaps.diagonal(), gaps))
    return Separation(count, float(right), float(auc))


class Vectors:
    """The steering vectors of one model, as far as they were made. forward: what reads the texts."""

    def __init__(self, model: Model, forward: Forward, dictionaries: Dictionaries) -> None:
        self.model, self.dictionaries = model, dictionaries
        self.readings = TextReadings(model, forward)
        self._made: dict[Steering, Tensor] = {}
        self._separations: dict[Steering, Separation] = {}

    def value(
        self, steering: Steering, cancelled: Callable[[], bool], progress: Callable[[float], None] = lambda _share: None
    ) -> Tensor:
        """[d_model] float32 on the model's device: finite, and longer than 0. progress: is told which share of the
        texts is read. Raises VectorError, and Cancelled while texts are read; those that are read by then stay."""
        if steering not in self._made:
            vector, value = steering.vector, self._make(steering, cancelled, progress).to(self.model.device)
            if value.shape != (self.model.shape.d_model,):
                shape, ready = "x".join(str(n) for n in value.shape), self.model.ready
                raise VectorError(f"{vector.name} has shape {shape}; {ready.name} wants {ready.shape.d_model} numbers")
            if not bool(value.isfinite().all()):
                raise VectorError(f"{format_vector(vector)} holds numbers that are not finite (NaN or infinite)")
            if not length(value) > 0:
                raise VectorError(f"{format_vector(vector)} is zero everywhere, so it points nowhere")
            self._made[steering] = direction(value) if vector.unit else value
        return self._made[steering]

    def unread(self, steering: Steering) -> bool:
        """Whether texts of files have to be read before its value is known, which may take long."""
        return steering.vector.source in OF_TEXTS and bool(steering.vector.files) and steering not in self._made

    def separation(self, steering: Steering) -> Separation | None:
        """How well a diff that was made tells pairs that are held out; None for others, and where pairs are few."""
        return self._separations.get(steering)

    def forget(self) -> None:
        """The next use makes each from its line once more."""
        self._made.clear()
        self._separations.clear()
        self.readings.forget()

    def _make(self, steering: Steering, cancelled: Callable[[], bool], progress: Callable[[float], None]) -> Tensor:
        vector = steering.vector
        if vector.source not in ("token", "file", "feature"):
            try:
                check_site(_site(vector), self.model.ready)
            except EditError as error:
                raise VectorError(f"{vector.name}: {error}") from error
        match vector.source:
            case "diff":
                first, second = self.readings.sides(steering, cancelled, progress)
                difference = (first - second).mean(0)
                both = torch.stack([first, second])
                if length(difference) <= self._rounding * length(both) / len(first):
                    raise VectorError(
                        f"{format_vector(vector)}: both sides have the same activation, so there is no difference"
                    )
                if (found := separation(first, second)) is not None:
                    self._separations[steering] = found
                return difference
            case "mean":
                (rows,) = self.readings.sides(steering, cancelled, progress)
                return rows.mean(0)
            case "pca":
                (rows,) = self.readings.sides(steering, cancelled, progress)
                return self._principal(vector, rows)
            case "neuron":
                return write_vector(self.model.bridge, vector.layer, vector.index)
            case "feature":
                return self._feature(steering)
            case "token":
                try:
                    token = self.model.single(vector.texts[0])
                except ValueError as error:
                    raise VectorError(f"{vector.name}: {error}") from error
                return unembedding_column(self.model.bridge, token)
            case "file":
                return vector_files.read(vector)

    def _feature(self, steering: Steering) -> Tensor:
        """What a feature writes to the stream per unit of activation. Raises VectorError."""
        vector, sae = steering.vector, steering.sae
        if sae is None:
            raise VectorError(f"{vector.name}: there is no dictionary {vector.sae}")
        try:
            found = self.dictionaries.value(sae)
            if found.writes.part in ("z", "in", "act"):
                where = format_point(found.writes)
                raise VectorError(f"{vector.name}: {sae.name} writes {where}, and a steering vector is of the stream")
            if vector.index >= found.n_features:
                last = found.n_features - 1
                raise VectorError(
                    f"{vector.name}: there is no feature {vector.index}: those of {sae.name} are 0 to {last:,}"
                )
            return found.direction(vector.index)
        except DictionaryError as error:
            raise VectorError(f"{vector.name}: {error}") from error

    def _principal(self, vector: Vector, rows: Tensor) -> Tensor:
        """The principal direction of rows [text, d_model] that the vector names, its largest component positive."""
        _, spread, directions = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
        least, at, line = self._rounding * length(rows), vector.component - 1, format_vector(vector)
        if spread[0] <= least:
            raise VectorError(
                f"{line}: its texts have the same activation, so there is no direction in which they differ"
            )
        if at >= len(spread) or spread[at] <= least:
            there = int((spread > least).sum())
            raise VectorError(f"{line}: its {len(rows)} texts differ in {there} directions, so there is no such one")
        near = [abs(float(spread[at] - spread[other])) for other in (at - 1, at + 1) if 0 <= other < len(spread)]
        if near and min(near) <= least:
            said = f"so none is the {'first' if at == 0 else 'one of that number'}"
            raise VectorError(f"{line}: its texts differ as much in two directions, {said}")
        found = directions[at]
        # A principal direction has no sign of its own: its largest component is made positive.
        signed: Tensor = found * torch.sign(found[found.abs().argmax()])
        return signed

    @property
    def _rounding(self) -> float:
        """What two activations that are the same may differ by, as a share of their length: runs of the same text in
        other batches round differently."""
        return max(1e-5, 4 * torch.finfo(self.model.dtype).eps)


def _site(vector: Vector) -> Site:
    """Where in the model the vector is read."""
    layers = Span(vector.layer, vector.layer)
    if vector.source == "neuron":
        return Site("neuron", layers, Span(vector.index, vector.index))
    return Site("layer", layers, part=vector.part)
