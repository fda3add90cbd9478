"""`mechtui run`: the same sessions and the same model process as the app's, answered without a screen.

The model runs in its own process here too, so that both ways of asking are one.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from mechtui.config import Settings
from mechtui.headless.asking import Asker, load_of
from mechtui.headless.ending import MISTAKE, Stop, check_prompt, ended, say
from mechtui.headless.output import Sink, format_of, sink_of
from mechtui.headless.watch import Watched, again_and_again
from mechtui.headless.work import Answered, Item, content_of, items_of, place_of
from mechtui.link.messages import Checked, Ready
from mechtui.session.cases import CasesError, load
from mechtui.session.document import Session
from mechtui.session.grammar.words import LineError, Mistakes
from mechtui.session.storage import StorageError
from mechtui.views import parse_question
from mechtui.visible import seen, write_over

# Of the mistakes in what is asked, how many are named one by one.
MOST_NAMED = 8
# Sessions that are said in advance, so that texts of one length share a pass through the weights.
AHEAD = 16


@dataclass(frozen=True)
class Wanted:
    """What is asked for. read: the session of a file, or the one that needs no file; raises LineError, StorageError.
    files: of the sessions. views: question lines besides the sessions' own. cases: a file. output: a file or -. format:
    None where the file's name says it. watch: whether to answer again when a file changes."""

    read: Callable[[str | None], Session]
    files: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    cases: str | None = None
    output: str = "-"
    format: str | None = None
    watch: bool = False

    def items(self) -> list[Item]:
        """What is to be answered, as the files say it now. Raises Stop, which says all that is wrong with them."""
        stops: list[Stop] = []
        cases = None
        try:
            cases = None if self.cases is None else load(self.cases)
        except CasesError as error:
            stops.append(Stop(MISTAKE, f"--cases: {error}"))
        views = Mistakes()
        views.read(parse_question, self.views)
        try:
            views.check()
        except LineError as error:
            stops.append(Stop.of(error))
        sessions: list[tuple[str, Session]] = []
        for name in self.files or (None,):
            try:
                sessions.append((name or "", self._read(name)))
            except Stop as stop:
                stops.append(stop)
        if not stops:
            items = items_of(sessions, self.views, cases, self.cases or "")
            for item in items:
                try:
                    if not item.without_prompt:
                        check_prompt(item.session, item.place)
                except Stop as stop:
                    stops.append(stop)
        if stops:
            raise _together(stops)
        return items

    def _read(self, name: str | None) -> Session:
        try:
            return self.read(name)
        except LineError as error:
            raise Stop.of(error).at(place_of(name or "")) from error
        except StorageError as error:
            raise Stop(MISTAKE, str(error)) from error


def _together(stops: Sequence[Stop]) -> Stop:
    """All that is wrong, as one end; only so many mistakes are named one by one."""
    each = [shown for stop in stops for shown in stop.each]
    more = len(each) - MOST_NAMED
    return Stop(MISTAKE, str(stops[0]), each[:MOST_NAMED] + ([f"and {more} more"] if more > 0 else []))


def run_headless(wanted: Wanted, settings: Settings) -> int:
    """Answer what is wanted -> exit status."""

    def run() -> None:
        format = format_of(wanted.output, wanted.format)
        _check_inputs(wanted)
        asyncio.run((_watch if wanted.watch else _once)(wanted, format, settings))

    return ended(run)


async def _once(wanted: Wanted, format: str, settings: Settings) -> None:
    items = wanted.items()
    progress = _Progress(len(items))
    sink = sink_of(wanted.output, format, _fingerprints(items, settings), again=False)
    try:
        progress.begin(sink.kept, wanted.output)
        if sink.kept < len(items):
            async with Asker(settings, progress.tell) as asker:
                await answer(asker, items, sink, progress)
        sink.finish()
    finally:
        sink.close()
        if 0 < progress.done < len(items) and sink.keeps:
            kept = f"{progress.done} of {len(items)} results are kept in {sink.keeps}"
            say(0, seen(f"{kept}; the same command goes on with the others"))


async def _watch(wanted: Wanted, format: str, settings: Settings) -> None:
    """Until the user stops it."""
    progress = _Progress(1)
    async with Asker(settings, progress.tell) as asker:

        async def once() -> None:
            items = wanted.items()
            progress.restart(len(items))
            sink = sink_of(wanted.output, format, _fingerprints(items, settings), again=True)
            try:
                await answer(asker, items, sink, progress)
                sink.finish()
            finally:
                sink.close()

        files = [*wanted.files, *([wanted.cases] if wanted.cases else [])]
        await again_and_again(once, Watched(files))


def _check_inputs(wanted: Wanted) -> None:
    """Raises Stop where the output is one of the files that are read."""
    for name in (*wanted.files, *([wanted.cases] if wanted.cases else [])):
        with suppress(OSError):  # what is not there is no such file
            if "-" not in (name, wanted.output) and os.path.samefile(name, wanted.output):
                raise Stop(MISTAKE, f"--output {wanted.output} is read as {name}: name another file")


def _fingerprints(items: Sequence[Item], settings: Settings) -> list[str]:
    content = cache(content_of)  # many cases name the same files
    return [item.fingerprint(load_of(item.session.model, settings), content) for item in items]


async def answer(asker: Asker, items: Sequence[Item], sink: Sink, progress: _Progress) -> None:
    """Answer the items that the sink has not, in their order. Raises Stop.

    All of one model are read before the first is run, so that every mistake is said at once. While the model process
    answers one item, the one before it is written.
    """
    at = sink.kept
    while at < len(items):
        model = items[at].session.model
        end = next((n for n in range(at, len(items)) if items[n].session.model != model), len(items))
        await asker.load(model)
        await _check(asker, items[at:end])
        checked = await asker.wait_for_check()
        assert asker.ready is not None
        before: tuple[Item, Answered] | None = None
        for number, item in enumerate(items[at:end]):
            ahead = items[at + number + 1 : min(at + number + AHEAD, end)] if number % AHEAD == 0 else ()
            asker.ask(item, ahead)
            _write(sink, before, asker.ready, checked, progress)
            before = item, await asker.answers(item)
        _write(sink, before, asker.ready, checked, progress)
        for said in (asker.ready.odd, checked.sentence):
            if said:
                say(0, seen(said))
        at = end


async def _check(asker: Asker, items: Sequence[Item]) -> None:
    """Raises Stop, which names all items that cannot be answered."""
    stops: list[Stop] = []
    for item in items:
        try:
            await asker.check(item)
        except Stop as stop:
            if stop.status != MISTAKE:
                raise
            stops.append(stop)
    if stops:
        raise _together(stops)


def _write(
    sink: Sink, answered: tuple[Item, Answered] | None, ready: Ready, checked: Checked, progress: _Progress
) -> None:
    if answered is not None:
        item, answers = answered
        # What is printed may go to the same terminal.
        write_over("")
        sink.add(item.result(ready, checked, answers))
        progress.step()


class _Progress:
    """On stderr: on a terminal a line that is written over, else a line for each tenth of many items. done: how many
    there are."""

    def __init__(self, count: int) -> None:
        self.restart(count)

    def restart(self, count: int) -> None:
        self._count, self.done, self._kept = count, 0, 0
        self._began = time.monotonic()

    def begin(self, kept: int, output: str) -> None:
        """So many are there already."""
        self.done = self._kept = kept
        if kept == self._count:
            say(0, seen(f"all {kept} results were computed before, for {output}; remove it to compute them again"))
        elif kept:
            say(0, seen(f"{kept} of {self._count} results are there from before; going on with the others"))

    def step(self) -> None:
        """One more is done."""
        if self.done == self._kept:
            self._began = time.monotonic()  # the model was loaded before
        self.done += 1
        if self._count > 1 and not sys.stderr.isatty():
            tenths = self.done * 10 // self._count
            if tenths > (self.done - 1) * 10 // self._count:
                print(f"mechtui: {self.done} of {self._count}", file=sys.stderr, flush=True)

    def tell(self, line: str) -> None:
        """What is being done."""
        if self._count == 1:
            write_over(line)
            return
        timed = self.done - self._kept - 1
        left = (time.monotonic() - self._began) / timed * (self._count - self.done) if timed > 0 else None
        rest = f", {left:.0f} s left" if left is not None else ""
        write_over(f"{self.done} of {self._count}{rest} · {line}")
