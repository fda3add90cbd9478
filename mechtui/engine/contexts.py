"""Top contexts: where in a text each neuron of a model fires most, and how often it fires.

A text is read once for all neurons: of each, the largest activations and their places are kept (in gated MLPs the
lowest, too: there the product may be far below 0), and at how many tokens it is on. What was read lies on the disk,
found by a fingerprint of the weights and of the text, so that the next look at any neuron has it at once. Never are
there more activations than those of one layer at the tokens of one batch.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mechtui.engine import vector_files
from mechtui.engine.cards import fingerprint, first_id
from mechtui.engine.errors import Cancelled, SessionError, TextError
from mechtui.engine.forward.forward import Forward
from mechtui.engine.forward.taps import Taps
from mechtui.engine.memory import ran_out
from mechtui.engine.model import Model
from mechtui.engine.neurons import Mlp
from mechtui.engine.samples import sampled
from mechtui.engine.text_readings import BATCH_TOKENS, BATCH_WORK, LEAST_TOKENS
from mechtui.session.hook_edits import Ids
from mechtui.session.paths import MOST_TEXT, PathError, cache_dir, private_folder, read_text, write_private
from mechtui.views.contexts import BESIDE, KEPT, WINDOW

# Of what is kept and how: files of another version are read anew.
VERSION = 1
# Samples that the model writes, and how many at once.
SAMPLES, TOGETHER = 64, 16
# Characters of a text, as in the reading of its loss.
MOST = 16_000_000
# Files that are kept, the latest, and readings that stay in memory.
MOST_FILES, MOST_READINGS = 24, 2
# How often what is read is written to the disk: at each such part of the whole.
PARTS = 10


@dataclass
class Layer:
    """What is kept of one layer. values [end, neuron, place] float32: the largest activations first, then of gated MLPs
    the lowest; places: where they are in the text's tokens, -1 for none yet. gate, into: what made them in gated MLPs.
    on [neuron]: at how many tokens it is on."""

    values: Tensor
    places: Tensor
    on: Tensor
    gate: Tensor | None
    into: Tensor | None

    @classmethod
    def empty(cls, d_mlp: int, gated: bool) -> Layer:
        shape = (2 if gated else 1, d_mlp, KEPT)
        values = torch.full(shape, -torch.inf)
        if gated:
            values[1] = torch.inf
        places = torch.full(shape, -1, dtype=torch.int32)
        gate, into = (torch.zeros(shape) if gated else None for _ in range(2))
        return cls(values, places, torch.zeros(d_mlp, dtype=torch.int32), gate, into)


@dataclass(frozen=True, eq=False)
class Context:
    """A place in a text. before, after: up to BESIDE tokens on either side of id. text: the window's tokens up to it,
    without BOS: as a prompt they give the same activation."""

    before: Ids
    id: int
    after: Ids
    text: Ids


@dataclass(eq=False)
class Scan:
    """Of one text, as far as it was read.

    mark: the fingerprint of weights and text. front: BOS, where texts begin with it. ids: the text's tokens; of samples
    those that were written so far, one after the other. own: whether they are samples. body: a window's tokens of the
    text; step: how much further each window begins. windows: how many there are; read: those that were read; kept:
    those that the disk has. layers: what was found.
    """

    mark: str
    front: Ids
    ids: np.ndarray
    own: bool
    body: int
    step: int
    windows: int
    read: int = 0
    kept: int = 0
    layers: list[Layer] = field(default_factory=list)

    def first(self, window: int) -> int:
        """The place in a window's tokens of the text of the first that counts: each token counts in the first window
        that has it, and one that nothing stands before in none."""
        return max(self.body - self.step if window else 0, 0 if self.front else 1)

    def window_of(self, place: int) -> int:
        """The window in which this token of the text counts."""
        return max(math.ceil((place - self.body + 1) / self.step), 0)

    def counted(self, windows: int) -> int:
        """Tokens that count in the first so many windows."""
        if not windows:
            return 0
        missing = 0 if self.own else max((windows - 1) * self.step + self.body - len(self.ids), 0)
        return self.body - self.first(0) + (windows - 1) * (self.body - self.first(1)) - missing

    @property
    def done(self) -> bool:
        return self.read == self.windows

    def context(self, place: int) -> Context:
        begin = self.window_of(place) * self.step
        end = min(begin + self.body, place + 1 + BESIDE)

        def part(begin: int, end: int) -> Ids:
            return tuple(self.ids[begin:end].tolist())

        before, after = part(max(begin, place - BESIDE), place), part(place + 1, end)
        return Context(before, int(self.ids[place]), after, part(begin, place + 1))


class Contexts:
    """Of the model that is loaded: texts are read from the disk's memory of them, or by runs. Not for several
    threads."""

    def __init__(self, model: Model, forward: Forward) -> None:
        self.model, self.forward = model, forward
        self._kept: dict[str, Scan] = {}
        self._marks: dict[tuple[str, tuple[int, ...], int], str] = {}  # by file, its state, and window
        shape = model.shape
        weights = shape.n_layers * shape.d_model * (4 * shape.d_model + 3 * shape.d_mlp)
        self._at_once = max(LEAST_TOKENS, min(BATCH_TOKENS, int(BATCH_WORK / max(weights, 1))))

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self.model)

    @cached_property
    def _mlps(self) -> list[Mlp]:
        """Raises SessionError."""
        return [Mlp(self.model.bridge, layer, self.model.ready.name) for layer in range(self.model.shape.n_layers)]

    @property
    def gated(self) -> bool:
        """Raises SessionError."""
        return self._mlps[0].gated

    # Which text

    def of(self, file: str, window: int) -> Scan:
        """What is known of a text: of a file, or of the model's own samples where none is named. window: tokens that
        are read at once; 0: WINDOW, or as many as the model reads. Raises SessionError."""
        name, most = self.model.ready.name, self.model.shape.n_ctx
        if window > most:
            raise SessionError(f"window{window} is too long: {name} reads {most:,} tokens")
        window = window or min(WINDOW, most)
        begin = first_id(self.model)
        front = () if begin is None else (begin,)
        body = window - len(front)
        if window < 2:
            raise SessionError(f"{name} reads one token at a time: a window needs two, the second has one before it")
        # A file that is as it was is not read again: what is known of it is asked for after every change of an edit.
        state = (file, vector_files.state(file), window)
        if file and (known := self._kept.get(self._marks.get(state, ""))) is not None:
            return known
        text = None if not file else self._text(file)
        overlap = 0 if text is None else max(min(window // 4, body - 1), 0 if front else 1)
        step = body - overlap
        what = f"samples {SAMPLES}" if text is None else hashlib.sha256(text.encode()).hexdigest()
        said = repr((VERSION, KEPT, self._fingerprint, what, front, body, step))
        mark = hashlib.sha256(said.encode()).hexdigest()[:32]
        reading = self._kept.pop(mark, None)
        if reading is None:
            ids = np.array([] if text is None else self._ids(text, file), dtype=np.int32)
            windows = SAMPLES if text is None else max(math.ceil((len(ids) - body) / step) + 1, 1)
            reading = Scan(mark, front, ids, text is None, body, step, windows)
            if reading.counted(windows) <= 0:
                raise SessionError(f"{file} has {len(ids)} tokens, none of which has one before it")
            _read(reading, self.model.shape.n_layers, self.model.shape.d_mlp, self.gated)
        self._kept[mark], self._marks = reading, {**dict(list(self._marks.items())[-MOST_READINGS:]), state: mark}
        while len(self._kept) > MOST_READINGS:
            del self._kept[next(iter(self._kept))]
        return reading

    def _text(self, file: str) -> str:
        try:
            text = read_text(file, MOST_TEXT)
        except PathError as error:
            raise SessionError(str(error)) from error
        if len(text) > MOST:
            raise SessionError(f"{file} has {len(text):,} characters, and a text of {MOST:,} is the longest")
        return text

    def _ids(self, text: str, file: str) -> list[int]:
        try:
            return self.model.encode(text, "no")
        except TextError as error:
            raise SessionError(f"{file} {error}") from error

    # Scan it

    def read(self, reading: Scan, cancelled: Callable[[], bool], progress: Callable[[float], None]) -> Iterator[Scan]:
        """Read on, and say so after each batch. What is read when it is cancelled stays, on the disk, too. Raises
        Cancelled between two blocks, SessionError."""
        if not reading.layers:
            d_mlp = self.model.shape.d_mlp
            reading.layers = [Layer.empty(d_mlp, self.gated) for _ in range(self.model.shape.n_layers)]
        while not reading.done:
            if cancelled():
                raise Cancelled
            self._batch(reading, cancelled, progress)
            self._told(reading, progress)
            if reading.done or reading.read - reading.kept >= reading.windows / PARTS:
                _write(reading)
            yield reading

    @staticmethod
    def _told(reading: Scan, progress: Callable[[float], None], writing: float = 0.0) -> None:
        """writing: samples that are being written."""
        if reading.own:
            written = len(reading.ids) / reading.body + writing
            progress((written + reading.read) / (2 * reading.windows))
        else:
            progress(reading.read / reading.windows)

    @torch.inference_mode()
    def _batch(self, reading: Scan, cancelled: Callable[[], bool], progress: Callable[[float], None]) -> None:
        window = len(reading.front) + reading.body
        count = min(max(self._at_once // window, 1), reading.windows - reading.read)
        if reading.own:
            self._write_samples(reading, count, cancelled, progress)
        texts = [self._window(reading, number) for number in range(reading.read, reading.read + count)]
        # The last window of a text may be a shorter one: it is read alone.
        texts = [text for text in texts if len(text) == len(texts[0])]
        try:
            found = self._pass(reading, texts, cancelled)
        except (RuntimeError, MemoryError) as error:
            if len(texts) == 1 or not ran_out(error):
                raise
            self._at_once = len(texts) // 2 * window
            return
        reading.layers, reading.read = found, reading.read + len(texts)

    def _write_samples(
        self, reading: Scan, count: int, cancelled: Callable[[], bool], progress: Callable[[float], None]
    ) -> None:
        """Have those that the next windows are."""
        skip = len(reading.front)
        while (written := len(reading.ids) // reading.body) < reading.read + count:
            rows = min(TOGETHER, reading.windows - written)
            texts = sampled(
                self.model,
                self.forward,
                rows,
                reading.body + skip,
                written,
                cancelled,
                lambda share, rows=rows: self._told(reading, progress, share * rows),  # type: ignore[misc]
            )
            more = [id for text in texts for id in text[skip:]]
            reading.ids = np.concatenate([reading.ids, np.array(more, dtype=np.int32)])

    @staticmethod
    def _window(reading: Scan, number: int) -> Ids:
        begin = number * reading.step
        return (*reading.front, *reading.ids[begin : begin + reading.body].tolist())

    def _pass(self, reading: Scan, texts: Sequence[Ids], cancelled: Callable[[], bool]) -> list[Layer]:
        """What is kept once these windows are read as well. Raises Cancelled."""
        forward = self.forward
        residual = torch.cat([forward.prelude(each, (), {}, (), forward.empty_cache(), 0)[0] for each in texts])
        calls, skip = forward.calls_for(texts[0]), len(reading.front)
        rows: list[int] = []
        at: list[int] = []
        for row, text in enumerate(texts):
            own = range(skip + reading.first(reading.read + row), len(text))
            rows += [row] * len(own)
            at += own
        where = torch.tensor(rows), torch.tensor(at)
        places = ((where[0] + reading.read) * reading.step + where[1] - skip).to(torch.int32)
        found = []
        for layer in range(forward.n_layers):
            seen: dict[str, Tensor] = {}

            def keep(name: str, seen: dict[str, Tensor] = seen) -> Callable[[Tensor], None]:
                def look(value: Tensor) -> None:
                    seen[name] = value[where[0].to(value.device), where[1].to(value.device)].float()

                return look

            looks: Taps = {f"blocks.{layer}.mlp.{name}": [keep(name)] for name in ("hook_in", "hook_post")}
            residual = forward.through(
                residual, calls, range(layer, layer + 1), None, (), {}, (), 0, cancelled, looks=looks
            ).stream[-1]
            found.append(_added(reading.layers[layer], self._mlps[layer], seen["hook_in"], seen["hook_post"], places))
        if not bool(residual.isfinite().all()):
            why = f"its activations are not finite in {self.model.ready.dtype}"
            raise SessionError(f"{self.model.ready.name} cannot be read: {why}")
        return found

    def forget(self) -> None:
        self._kept.clear()


def _added(known: Layer, mlp: Mlp, normed: Tensor, post: Tensor, places: Tensor) -> Layer:
    """With more tokens: normed [token, d_model], what the MLP reads; post [token, neuron]; places [token]."""
    gate = mlp.pre(normed, range(post.shape[1]), "gate") if mlp.gated else None  # [neuron, token]
    fires = post.T > 0 if gate is None else gate > 0
    ends = [_end(known, end, mlp, normed, post, gate, places) for end in range(len(known.values))]
    values, at, gates, intos = (None if parts[0] is None else torch.stack(parts) for parts in zip(*ends, strict=True))
    assert values is not None
    assert at is not None
    return Layer(values, at, known.on + fires.sum(1, dtype=torch.int32).cpu(), gates, intos)


def _end(
    known: Layer, end: int, mlp: Mlp, normed: Tensor, post: Tensor, gate: Tensor | None, places: Tensor
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """values, places, gate and into [neuron, place] of one end: 0 the largest, 1 the lowest."""
    sign = -1.0 if end else 1.0
    values, at = known.values[end], known.places[end]
    gates, intos = (None if each is None else each[end] for each in (known.gate, known.into))
    strength = post.T * sign
    changed = (strength.amax(1).cpu() > values[:, -1] * sign).nonzero()[:, 0]
    if not len(changed):
        return values, at, gates, intos
    best, place = strength[changed.to(post.device)].topk(min(KEPT, len(places)), dim=1)
    best, place = best.cpu() * sign, place.cpu()
    both = torch.cat([values[changed], best], 1)
    # Of equal ones the earlier stays first.
    order = (both * sign).sort(dim=1, descending=True, stable=True).indices[:, :KEPT]

    def merged(old: Tensor, new: Tensor) -> Tensor:
        made = old.clone()
        made[changed] = torch.cat([old[changed], new.to(old.dtype)], 1).gather(1, order)
        return made

    values, at = merged(values, best), merged(at, places[place])
    if gates is not None and intos is not None and gate is not None:
        into = mlp.pre(normed, changed.tolist(), "in").cpu().gather(1, place)
        gates, intos = merged(gates, gate[changed.to(gate.device)].cpu().gather(1, place)), merged(intos, into)
    return values, at, gates, intos


# On the disk


def file_for(mark: str) -> Path:
    return cache_dir() / "contexts" / f"{mark}.safetensors"


def _read(reading: Scan, n_layers: int, d_mlp: int, gated: bool) -> None:
    """Take up what the disk has of this very text; nothing where it has none that is whole."""
    shape = (n_layers, 2 if gated else 1, d_mlp, KEPT)
    try:
        with safe_open(file_for(reading.mark), framework="pt") as file:
            read = int((file.metadata() or {}).get("read", "0"))
            names = ("values", "places", "gate", "into") if gated else ("values", "places")
            tables = {name: file.get_tensor(name) for name in names}
            on, ids = file.get_tensor("on"), file.get_tensor("ids")
    except (OSError, SafetensorError, ValueError):
        return
    whole = all(table.shape == shape for table in tables.values()) and on.shape == (n_layers, d_mlp)
    fits = len(ids) % reading.body == 0 if reading.own else len(ids) == len(reading.ids)
    if not whole or not fits or not 0 < read <= reading.windows:
        return
    if int(tables["places"].max()) >= len(ids) or int(tables["places"].min()) < -1:
        return
    reading.ids, reading.read, reading.kept = ids.numpy(), read, read
    reading.layers = [
        Layer(
            tables["values"][layer],
            tables["places"][layer],
            on[layer],
            tables["gate"][layer] if gated else None,
            tables["into"][layer] if gated else None,
        )
        for layer in range(n_layers)
    ]


def _write(reading: Scan) -> None:
    """Where it cannot be written, the text is read again at the next start."""
    reading.kept = reading.read
    tables = {
        "values": torch.stack([each.values for each in reading.layers]),
        "places": torch.stack([each.places for each in reading.layers]),
        "on": torch.stack([each.on for each in reading.layers]),
        "ids": torch.from_numpy(reading.ids),
    }
    for name in ("gate", "into"):
        parts = [getattr(each, name) for each in reading.layers]
        if parts[0] is not None:
            tables[name] = torch.stack(parts)
    try:
        path = file_for(reading.mark)
        private_folder(path.parent)
        write_private(path, save(tables, metadata={"read": str(reading.read)}))
        kept = sorted(path.parent.glob("*.safetensors"), key=lambda each: each.stat().st_mtime, reverse=True)
        for old in kept[MOST_FILES:]:
            old.unlink(missing_ok=True)
    except OSError:
        return
