"""What many texts leave at one place of the residual stream: clean runs, batches of one length, kept as they come."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from msgspec.structs import replace
from torch import Tensor

from mechtui.engine.errors import Cancelled, TextError
from mechtui.engine.forward.forward import Forward
from mechtui.engine.forward.taps import Taps
from mechtui.engine.memory import ran_out
from mechtui.engine.model import Model
from mechtui.engine.vector_files import VectorError
from mechtui.session.document import Vector
from mechtui.session.hook_edits import Ids, Steering
from mechtui.session.sites import hook
from mechtui.session.text_files import Text, TextsError, sides_of

# Tokens of one batch: as many as a processor's cache takes, of a large model those that take a second or two. It is the
# time that a reading takes to stop.
BATCH_TOKENS, LEAST_TOKENS = 1024, 64
BATCH_WORK = 1.5e11
# Readings that are kept, begun or whole: each is [text, d_model] at most.
MOST_KEPT = 2


@dataclass
class _Reading:
    """Of one vector's texts. positions: which token of each is read, None for the mean. rows [text, d_model] float32:
    those of `left` are still to be read, the shortest first."""

    texts: list[Text]
    ids: list[Ids]
    positions: list[int | None]
    rows: Tensor
    left: list[int]


class TextReadings:
    """Of one model. Not for several threads."""

    def __init__(self, model: Model, forward: Forward) -> None:
        self.model = model
        self.forward = forward
        self._kept: OrderedDict[Steering, _Reading] = OrderedDict()
        shape = model.shape
        weights = shape.n_layers * shape.d_model * (4 * shape.d_model + 3 * shape.d_mlp)
        self._at_once = max(LEAST_TOKENS, min(BATCH_TOKENS, int(BATCH_WORK / max(weights, 1))))

    @torch.inference_mode()
    def sides(
        self, steering: Steering, cancelled: Callable[[], bool], progress: Callable[[float], None]
    ) -> list[Tensor]:
        """The activations [text, d_model] float32 of a vector's texts, on the CPU; of diff those of either side.

        What is read when it is cancelled is not read again. Raises VectorError; Cancelled between two blocks.
        """
        vector = steering.vector
        # Vectors that are made of the same activations share them.
        same = Steering(replace(vector, name="", source="mean", component=1, unit=False), steering.bos, steering.file)
        reading = self._kept.get(same)
        if reading is None:
            reading = self._kept[same] = self._begun(steering)
        self._kept.move_to_end(same)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        total, largest = sum(map(len, reading.ids)), self._at_once
        while reading.left:
            length = len(reading.ids[reading.left[0]])
            most = max(largest // length, 1)
            batch = [text for text in reading.left[:most] if len(reading.ids[text]) == length]
            try:
                rows = self._rows(reading, batch, vector, cancelled)
            except (RuntimeError, MemoryError) as error:
                if len(batch) == 1 or not ran_out(error):
                    raise
                largest = len(batch) // 2 * length
                continue
            if (bad := (~rows.isfinite().all(-1)).nonzero()).numel():
                where = reading.texts[batch[int(bad[0])]].where
                raise VectorError(f"{vector.name}: the activation of {where} is not finite in {self.model.ready.dtype}")
            reading.rows[batch] = rows
            del reading.left[: len(batch)]
            progress(1 - sum(len(reading.ids[text]) for text in reading.left) / total)
        sides = 2 if vector.source == "diff" else 1
        return list(reading.rows.view(sides, -1, reading.rows.shape[-1]))

    def forget(self) -> None:
        self._kept.clear()

    def _begun(self, steering: Steering) -> _Reading:
        """Raises VectorError where a text cannot be read."""
        vector = steering.vector
        try:
            texts = [text for side in sides_of(vector) for text in side]
        except TextsError as error:
            raise VectorError(f"{vector.name}: {error}") from error
        ids = [self._ids(steering, text) for text in texts]
        positions = [self._position(vector, text, len(of)) for text, of in zip(texts, ids, strict=True)]
        left = sorted(range(len(ids)), key=lambda text: len(ids[text]))
        return _Reading(texts, ids, positions, torch.empty(len(ids), self.model.shape.d_model), left)

    def _ids(self, steering: Steering, text: Text) -> Ids:
        name = steering.vector.name
        try:
            ids = tuple(self.model.encode(text.text, "yes" if steering.bos else "no"))
        except TextError as error:
            raise VectorError(f"{name}: {text.where} {error}") from error
        if not ids:
            raise VectorError(f"{name}: {text.where} has no tokens")
        if len(ids) > self.model.shape.n_ctx:
            model, most = self.model.ready.name, self.model.shape.n_ctx
            raise VectorError(f"{name}: {text.where} has {len(ids):,} tokens and {model} reads {most:,}")
        return ids

    @staticmethod
    def _position(vector: Vector, text: Text, count: int) -> int | None:
        """Which token of a text with so many is read; None for all of them."""
        if vector.position is None:
            return None
        position = vector.position + count if vector.position < 0 else vector.position
        if not 0 <= position < count:
            problem = f"{text.where} has {count} tokens, so there is no position {vector.position}"
            raise VectorError(f"{vector.name}: {problem}")
        return position

    def _rows(self, reading: _Reading, batch: Sequence[int], vector: Vector, cancelled: Callable[[], bool]) -> Tensor:
        """[text, d_model] of texts that have as many tokens. Raises Cancelled."""
        if cancelled():
            raise Cancelled
        forward, layer = self.forward, vector.layer
        ids = [reading.ids[text] for text in batch]
        residual = torch.cat([forward.prelude(each, (), {}, (), forward.empty_cache(), 0)[0] for each in ids])
        calls = forward.calls_for(ids[0])
        seen: list[Tensor] = []
        layers = range(layer)
        looks: Taps = {}
        if vector.part != "pre":  # what enters a block needs nothing of it
            layers = range(layer + 1)
            looks[hook(layer, vector.part)] = [seen.append]
        passed = forward.through(residual, calls, layers, None, (), {}, (), 0, cancelled, looks=looks, last_alone=True)
        value = seen[-1] if seen else passed.stream[-1]
        if vector.position is None:
            return value.float().mean(1).cpu()
        at = torch.tensor([reading.positions[text] for text in batch], device=value.device)
        return value[torch.arange(len(batch), device=value.device), at].float().cpu()
