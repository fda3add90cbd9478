"""What the terminal sends, read so that no key is taken for another, and nothing that it sends ends the program; and
what it is sent, no more and no sooner than it takes it."""

from __future__ import annotations

import codecs
import os
import re
import selectors
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

CHUNK = 4096
# The key `esc` as a sequence that nothing else can be.
ESCAPE = "\x1b[27u"
PASTE, PASTED = "\x1b[200~", "\x1b[201~"
# Behind these an ESC begins a sequence: CSI, SS3, and what keyboards send for alt with backspace and arrows.
_KEY = re.compile(r"\x1b(?![\[O\x7f\x08bf])")
_BEGUN = re.compile(r"\x1b(?:\[(?:2(?:0[01]?)?)?)?\Z")


class Escapes:
    """Tells the key `esc` from the first byte of a sequence.

    ESC and a letter in one chunk may be alt and that letter. It is two keys here: no action has a key with alt, and
    over a slow line `esc` and the key after it come together.
    """

    def __init__(self) -> None:
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


class Terminal(LinuxDriver):
    """Textual's, but for how it reads: bytes that are no UTF-8 are shown as signs that stand for such bytes, and a
    terminal that is gone ends the reading (`mechtui.app.ending` ends the program). And for how it paints: what is
    another than before, and while the terminal takes that, nothing."""

    def __init__(self, app: App[Any], **options: Any) -> None:
        super().__init__(app, **options)
        self.frame = Frame()
        self._outlet = Outlet(self._file, self._taken)
        self._file: Any = self._outlet
        self._held = False  # whether a frame waits
        self._cursor, self._at = Offset(0, 0), ""  # where it is to be, and what put it where it is

    def start_application_mode(self) -> None:
        self.frame.forget()  # it may come back from another program
        super().start_application_mode()  # type: ignore[no-untyped-call]

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
        self._held = False
        changes = self.frame.changes()
        at = f"\x1b[{self._cursor.y + 1};{self._cursor.x + 1}H"
        if not changes and at == self._at:
            return
        self._at = at
        together = self._app._sync_available
        self.write(f"{SYNC_START if together else ''}{changes}{at}{SYNC_END if together else ''}")

    def _taken(self) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._send)

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
                # Nothing would be the end to the parser.
                for event in parser.feed(text) if text else ():
                    self.process_message(event)
                for event in parser.tick():
                    self.process_message(event)
