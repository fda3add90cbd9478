"""Reading a text for its strongest places. Never are there more activations than those of one block at the tokens of
one batch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from mechtui.engine import vector_files
from mechtui.engine.cards import fingerprint, first_id
from mechtui.engine.contexts import kept
from mechtui.engine.contexts.kept import Scan
from mechtui.engine.contexts.strongest import Strongest
from mechtui.engine.contexts.units import Features, Neurons, Units
from mechtui.engine.contexts.windows import Text
from mechtui.engine.dictionaries import Dictionary
from mechtui.engine.errors import Cancelled, SessionError, TextError
from mechtui.engine.forward.forward import Forward
from mechtui.engine.forward.taps import Taps
from mechtui.engine.memory import ran_out
from mechtui.engine.model import Model
from mechtui.engine.neurons import Mlp
from mechtui.engine.samples import sampled
from mechtui.engine.text_readings import BATCH_TOKENS, BATCH_WORK, LEAST_TOKENS
from mechtui.session.hook_edits import Ids
from mechtui.session.paths import MOST_TEXT, PathError, read_text
from mechtui.views.contexts import BINS, KEPT, WINDOW

# Samples that the model writes, and how many at once.
SAMPLES, TOGETHER = 64, 16
# Characters of a text, as in the reading of its loss.
MOST = 16_000_000
# Texts and readings that stay in memory.
MOST_READINGS = 3
# How often what is read is written to the disk: at each such part of the whole.
PARTS = 10


class Contexts:
    """Of the model that is loaded: texts are read from the disk's memory of them, or by runs. Not for several
    threads."""

    def __init__(self, model: Model, forward: Forward) -> None:
        self.model, self.forward = model, forward
        self._texts: dict[str, Text] = {}
        self._marks: dict[tuple[str, tuple[int, ...], int, bool], str] = {}  # by file, its state, window, and BOS
        self._scans: dict[tuple[str, str], Scan] = {}
        self._contents: dict[bytes, str] = {}  # digests of dictionaries' files, by their marks
        shape = model.shape
        weights = shape.n_layers * shape.d_model * (4 * shape.d_model + 3 * shape.d_mlp)
        self._at_once = max(LEAST_TOKENS, min(BATCH_TOKENS, int(BATCH_WORK / max(weights, 1))))

    @cached_property
    def _fingerprint(self) -> str:
        return fingerprint(self.model)

    @cached_property
    def _neurons(self) -> Neurons:
        """Raises SessionError."""
        shape, name = self.model.shape, self.model.ready.name
        return Neurons([Mlp(self.model.bridge, layer, name) for layer in range(shape.n_layers)], shape.d_mlp)

    # Which text

    def of_neurons(self, file: str, window: int) -> Scan:
        """What is known of all neurons in a text: of a file, or of the model's own samples where none is named. window:
        tokens that are read at once; 0: WINDOW, or as many as the model reads. Raises SessionError."""
        return self._scan(self._text(file, window, first_id(self.model)), self._neurons)

    def of_features(
        self, dictionary: Dictionary, bos: bool, file: str, window: int, cancelled: Callable[[], bool]
    ) -> Scan:
        """The same of all features of a dictionary. bos: whether texts begin with BOS. Raises SessionError,
        Cancelled."""
        known = self._contents.pop(dictionary.mark, None) or kept.content(dictionary, cancelled)
        self._contents = {**dict(list(self._contents.items())[-MOST_READINGS:]), dictionary.mark: known}
        text = self._text(file, window, self.model.bos_id if bos else None)
        return self._scan(text, Features(dictionary, kept.digest(dictionary, known)))

    def _scan(self, text: Text, units: Units) -> Scan:
        key = text.mark, units.digest
        scan = self._scans.pop(key, None)
        if scan is None:
            scan = Scan(text, units)
            kept.read(scan)
        self._scans[key] = scan
        while len(self._scans) > MOST_READINGS:
            del self._scans[next(iter(self._scans))]
        return scan

    def _text(self, file: str, window: int, begin: int | None) -> Text:
        """begin: BOS, where texts begin with it. Raises SessionError."""
        name, most = self.model.ready.name, self.model.shape.n_ctx
        if window > most:
            raise SessionError(f"window{window} is too long: {name} reads {most:,} tokens")
        window = window or min(WINDOW, most)
        front = () if begin is None else (begin,)
        body = window - len(front)
        if window < 2:
            raise SessionError(f"{name} reads one token at a time: a window needs two, the second has one before it")
        # A file that is as it was is not read again: what is known of it is asked for after every change of an edit.
        state = (file, vector_files.state(file), window, bool(front))
        if file and (known := self._texts.get(self._marks.get(state, ""))) is not None:
            return known
        said = None if not file else self._said(file)
        overlap = 0 if said is None else max(min(window // 4, body - 1), 0 if front else 1)
        step = body - overlap
        what = f"samples {SAMPLES}" if said is None else hashlib.sha256(said.encode()).hexdigest()
        all_of_it = repr((kept.VERSION, KEPT, BINS, self._fingerprint, what, front, body, step))
        mark = hashlib.sha256(all_of_it.encode()).hexdigest()[:16]
        text = self._texts.pop(mark, None)
        if text is None:
            ids = np.array([] if said is None else self._ids(said, file), dtype=np.int32)
            windows = SAMPLES if said is None else max(math.ceil((len(ids) - body) / step) + 1, 1)
            text = Text(mark, front, ids, said is None, body, step, windows)
            if text.counted(windows) <= 0:
                raise SessionError(f"{file} has {len(ids)} tokens, none of which has one before it")
            if text.own:
                kept.read_samples(text)
        self._texts[mark], self._marks = text, {**dict(list(self._marks.items())[-MOST_READINGS:]), state: mark}
        while len(self._texts) > MOST_READINGS:
            del self._texts[next(iter(self._texts))]
        return text

    def _said(self, file: str) -> str:
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

    # Read it

    def read(self, scan: Scan, cancelled: Callable[[], bool], progress: Callable[[float], None]) -> Iterator[Scan]:
        """Read on, and say so after each batch. What is read when it is cancelled stays, on the disk, too. Raises
        Cancelled between two blocks, SessionError."""
        if not scan.found:
            scan.found = scan.units.empty()
        while not scan.done:
            if cancelled():
                raise Cancelled
            self._batch(scan, cancelled, progress)
            self._told(scan, progress)
            if scan.done or scan.read - scan.kept >= scan.text.windows / PARTS:
                kept.write(scan)
            yield scan

    @staticmethod
    def _told(scan: Scan, progress: Callable[[float], None], writing: float = 0.0) -> None:
        """writing: samples that are being written."""
        text = scan.text
        if text.own:
            progress((text.written + writing + scan.read) / (2 * text.windows))
        else:
            progress(scan.read / text.windows)

    @torch.inference_mode()
    def _batch(self, scan: Scan, cancelled: Callable[[], bool], progress: Callable[[float], None]) -> None:
        text = scan.text
        count = min(max(self._at_once // text.window, 1), text.windows - scan.read)
        if text.own:
            self._write_samples(scan, count, cancelled, progress)
        rows = [text.tokens(number) for number in range(scan.read, scan.read + count)]
        # The last window of a text may be a shorter one: it is read alone.
        rows = [row for row in rows if len(row) == len(rows[0])]
        try:
            found = self._pass(scan, rows, cancelled)
        except (RuntimeError, MemoryError) as error:
            if len(rows) == 1 or not ran_out(error):
                raise
            self._at_once = len(rows) // 2 * text.window
            return
        scan.found, scan.read = found, scan.read + len(rows)

    def _write_samples(
        self, scan: Scan, count: int, cancelled: Callable[[], bool], progress: Callable[[float], None]
    ) -> None:
        """Have those that the next windows are."""
        text, before = scan.text, scan.text.written
        skip = len(text.front)
        while text.written < scan.read + count:
            rows = min(TOGETHER, text.windows - text.written)
            texts = sampled(
                self.model,
                self.forward,
                rows,
                text.window,
                text.written,
                cancelled,
                lambda share, rows=rows: self._told(scan, progress, share * rows),  # type: ignore[misc]
            )
            more = [id for each in texts for id in each[skip:]]
            text.ids = np.concatenate([text.ids, np.array(more, dtype=np.int32)])
        if text.written > before:
            kept.write_samples(text)

    def _pass(self, scan: Scan, texts: Sequence[Ids], cancelled: Callable[[], bool]) -> list[Strongest]:
        """What is kept once these windows are read as well. Raises Cancelled."""
        forward, units, text = self.forward, scan.units, scan.text
        residual = torch.cat([forward.prelude(each, (), {}, (), forward.empty_cache(), 0)[0] for each in texts])
        calls, skip = forward.calls_for(texts[0]), len(text.front)
        rows: list[int] = []
        at: list[int] = []
        for row, each in enumerate(texts):
            own = range(skip + text.first(scan.read + row), len(each))
            rows += [row] * len(own)
            at += own
        where = torch.tensor(rows), torch.tensor(at)
        places = ((where[0] + scan.read) * text.step + where[1] - skip).to(torch.int32)
        found = scan.found
        for block in range(units.blocks):
            seen: dict[str, Tensor] = {}

            def keep(name: str, seen: dict[str, Tensor] = seen) -> Callable[[Tensor], None]:
                def look(value: Tensor) -> None:
                    seen[name] = value[where[0].to(value.device), where[1].to(value.device)].float()

                return look

            looks: Taps = {hook: [keep(hook)] for hook in units.hooks(block)}
            residual = forward.through(
                residual, calls, range(block, block + 1), None, (), {}, (), 0, cancelled, looks=looks
            ).stream[-1]
            found = units.added(found, block, seen, places, cancelled)
        if not bool(residual.isfinite().all()):
            why = f"its activations are not finite in {self.model.ready.dtype}"
            raise SessionError(f"{self.model.ready.name} cannot be read: {why}")
        return found
