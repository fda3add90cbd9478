"""What the terminal sends, read so that no key is taken for another, and nothing that it sends ends the program; and
what it is sent, no more and no sooner than it takes it."""

from __future__ import annotations

import asyncio
import codecs
import math
import os
import re
import selectors
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any

from rich.color import ColorSystem
from textual import constants
from textual._ansi_sequences import SYNC_END, SYNC_START
from textual._compositor import CompositorUpdate
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Offset, Size

from mechtui.app.frames import Frame
from mechtui.app.pace import ANSWER, ASK, Pace

CHUNK = 4096
# Seconds that the system has to stop the program, and between looks whether it has let it go on.
STOPPING, GLANCE = 0.5, 0.01
NO_SHELL = "There is no shell to go back to: nothing would bring mechtui back."
# The key `esc` as a sequence that nothing else can be.
ESCAPE = "\x1b[27u"
PASTE, PASTED = "\x1b[200~", "\x1b[201~"
# Behind these an ESC begins a sequence: CSI, SS3, and what keyboards send for alt with backspace and arrows.
_KEY = re.compile(r"\x1b(?![\[O\x7f\x08bf])")
_BEGUN = re.compile(r"\x1b(?:\[(?:0|2(?:0[01]?)?)?)?\Z")
# Off: the terminal shows cells in the order in which they are sent, also those of scripts that are read from right to
# left, which it would otherwise put in another order with all that stands between them.
BIDI_OFF, BIDI_ON = "\x1b[8l", "\x1b[8h"
# Seconds for which the end waits for the terminal's last answers, so that the shell does not get them.
LAST_ANSWERS = 0.5


class Escapes:
    """Tells the key `esc` from the first byte of a sequence.

    ESC and a letter in one chunk may be alt and that letter. It is two keys here: no action has a key with alt, and
    over a slow line `esc` and the key after it come together. answers: how many of the terminal's answers (`pace`) were
    taken out of the text.
    """

    def __init__(self) -> None:
        self.answers = 0
        self._begun = ""
        self._pasting = False

    def feed(self, text: str) -> str:
        """The text with every `esc` spelled out; what may yet become a sequence is held back."""
        text = self._begun + text
        begun = _BEGUN.search(text)
        self._begun = begun[0] if begun else ""
        return self._spelled(text.removesuffix(self._begun))

    def rest(self) -> str:
        """What was held back, when nothing has come after it."""
        begun, self._begun = self._begun, ""
        return self._spelled(begun)

    def _spelled(self, text: str) -> str:
        self.answers += text.count(ANSWER)
        text = text.replace(ANSWER, "")
        spelled = ""
        while text:
            part, mark, text = text.partition(PASTED if self._pasting else PASTE)
            # As most terminals do, leave ESC out of what is pasted: the parser would take it for the paste's end.
            spelled += (part.replace("\x1b", "") if self._pasting else _KEY.sub(ESCAPE, part)) + mark
            if mark:
                self._pasting = not self._pasting
        return spelled


class Outlet:
    """What the terminal is written to by Textual's thread. busy: whether it has not taken the last yet. idle: called by
    that thread when it has."""

    def __init__(self, file: IO[str], idle: Callable[[], None]) -> None:
        self._file, self._idle = file, idle
        self.busy = False

    def fileno(self) -> int:
        return self._file.fileno()

    def write(self, text: str) -> None:
        self.busy = True
        self._file.write(text)

    def flush(self) -> None:
        self._file.flush()
        self.busy = False
        self._idle()


class Awaited:
    """How many answers are still to come, as two threads know it."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = threading.Condition()

    def asked(self) -> None:
        with self._changed:
            self._count += 1

    def answered(self, count: int) -> None:
        with self._changed:
            self._count = max(self._count - count, 0)
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Until none is; whether that came to pass in so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._count, seconds)


class Terminal(LinuxDriver):
    """Textual's, but for how it reads: bytes that are no UTF-8 are shown as signs that stand for such bytes, and a
    terminal that is gone ends the reading (`mechtui.app.ending` ends the program). And for how it paints: what is
    another than before, and while the terminal takes that, nothing."""

    _app: Any

    def __init__(self, app: App[Any], **options: Any) -> None:
        super().__init__(app, **options)
        self.frame = Frame()
        self.pace = Pace()
        self._outlet = Outlet(self._file, self._taken)
        self._file: Any = self._outlet
        self._held = False  # whether a frame waits
        self._goes_on = True  # whether it has been let go on since it was stopped last
        self._going_on = False  # whether it takes the terminal back just now
        self._once_more = False  # whether it was let go on meanwhile
        self._cursor, self._at = Offset(0, 0), ""  # where it is to be, and what put it where it is
        self._again: asyncio.TimerHandle | None = None  # looks once more whether the frame that waits can go
        self._awaited = Awaited()

    def _get_terminal_size(self) -> tuple[int, int]:
        # What a shell has exported as LINES and COLUMNS was another terminal's size, or this one's before it changed.
        with suppress(OSError):  # it is gone
            columns, lines = os.get_terminal_size(self.fileno)
            if columns > 0 and lines > 0:
                return columns, lines
        # It does not know its size, as over some serial lines.
        return super()._get_terminal_size()

    def start_application_mode(self) -> None:
        self.frame.forget()  # it may come back from another program
        self.pace = Pace()
        super().start_application_mode()  # type: ignore[no-untyped-call]
        self.write(BIDI_OFF + self._question(len(BIDI_OFF)))

    def stop_application_mode(self) -> None:
        self._awaited.wait(min(LAST_ANSWERS, max(3 * self.pace.base, 0.1)) if math.isfinite(self.pace.base) else 0.0)
        self.write(BIDI_ON)
        super().stop_application_mode()

    # Stopping and going on. Textual stops this process alone: a program around it (a script, `uv run`) would run on and
    # keep the shell waiting, and where there is no shell nobody would let it go on. It also takes every SIGCONT for the
    # end of its own stop, and would have two threads read the keys.

    def _sigtstp_application(self, *_: object) -> None:
        """Leave the terminal and stop, with all that the shell takes for one job."""
        self._goes_on = False
        if self._auto_restart:
            self.suspend_application_mode()
            self._must_signal_resume = True
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(0, signal.SIGTSTP)
        until = time.monotonic() + STOPPING
        while not self._goes_on and time.monotonic() < until:
            time.sleep(GLANCE)
        signal.signal(signal.SIGTSTP, self._sigtstp_application)
        if not self._goes_on:
            # The system stops nobody whom no shell would let go on.
            if self._auto_restart:
                self.resume_application_mode()
            self._app.call_later(self._app.say, NO_SHELL, bad=True)

    def _sigcont_application(self, *_: object) -> None:
        self._goes_on = self._once_more = True
        if not self._auto_restart or self._going_on:
            return
        self._going_on = True
        try:
            if self._key_thread is not None and self._key_thread.is_alive():
                # It was stopped without a word: whoever had the terminal meanwhile has set it for itself.
                self.suspend_application_mode()
            while self._once_more:
                # In the background it is stopped here, and let go on later.
                self._once_more = False
                self.resume_application_mode()
        finally:
            self._going_on = False

    def paint(self, update: CompositorUpdate, size: Size, colors: ColorSystem | None, cursor: Offset) -> None:
        """Let the terminal show this, with its cursor there, as soon as it takes it."""
        self.frame.take(update, size, colors)
        self._cursor = cursor
        self._held = True
        self._send()

    def repaint(self) -> None:
        """Send all of it again: nobody knows any more what the terminal shows."""
        self.frame.forget()
        self._at = ""
        self._held = True
        self._send()

    def _send(self) -> None:
        writer = self._writer_thread
        if not self._held or writer is None or self._outlet.busy or writer._queue.qsize():
            return
        if not (room := self.pace.room(time.monotonic())):
            self._later()
            return
        changes = self.frame.changes(room)
        self._held = not self.frame.whole
        at = f"\x1b[{self._cursor.y + 1};{self._cursor.x + 1}H"
        if not changes and at == self._at:
            return
        self._at = at
        together = self._app._sync_available
        text = f"{SYNC_START if together else ''}{changes}{at}{SYNC_END if together else ''}"
        self.write(text + self._question(len(text.encode()), self._held))

    def _question(self, size: int, full: bool = False) -> str:
        """What is to stand behind so many bytes, which are sent now. full: there was no room for more."""
        asks = self.pace.asks
        self.pace.sent(size, time.monotonic(), full)
        if asks:
            self._awaited.asked()
        return ASK if asks else ""

    def _later(self) -> None:
        """The frame that waits goes when there is room."""
        if self._again is None:
            self._again = self._loop.call_later(self.pace.wait(time.monotonic()), self._look_again)

    def _look_again(self) -> None:
        self._again = None
        self._send()

    def _taken(self) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._send)

    def _answered(self, count: int) -> None:
        self._awaited.answered(count)
        now = time.monotonic()

        def heard() -> None:
            for _ in range(count):
                self.pace.answered(now)
            self._send()

        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(heard)

    def run_input_thread(self) -> None:
        parser = XTermParser(self._debug)
        escapes = Escapes()
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        with selectors.SelectSelector() as selector, suppress(OSError):
            selector.register(self.fileno, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                if selector.select(constants.ESCAPE_DELAY):
                    data = os.read(self.fileno, CHUNK)
                    if not data:
                        return
                    text = escapes.feed(decode(data))
                else:
                    text = escapes.rest()
                if escapes.answers:
                    self._answered(escapes.answers)
                    escapes.answers = 0
                # Nothing would be the end to the parser.
                for event in parser.feed(text) if text else ():
                    self.process_message(event)
                for event in parser.tick():
                    self.process_message(event)
