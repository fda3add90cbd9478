"""What the terminal sends, read so that no key is taken for another, and nothing that it sends ends the program."""

from __future__ import annotations

import codecs
import os
import re
import selectors
from contextlib import suppress

from textual import constants
from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

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


class Terminal(LinuxDriver):
    """Textual's, but for how it reads: bytes that are no UTF-8 are shown as signs that stand for such bytes, and a
    terminal that is gone ends the reading (`mechtui.app.ending` ends the program)."""

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
