"""Textual's driver for terminals of Unix, for input that is not all UTF-8."""

from __future__ import annotations

import os
import selectors
from codecs import getincrementaldecoder

from textual._xterm_parser import XTermParser
from textual.drivers.linux_driver import LinuxDriver

READ = 4096
# Seconds after which a lone escape is a key and the end is looked for.
PATIENCE = 0.1


class Terminal(LinuxDriver):
    """A byte that is no UTF-8 (Latin-1 that is pasted, a broken key) is read as �. Textual's own ends the program."""

    def run_input_thread(self) -> None:
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")("replace").decode
        with selectors.SelectSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                if selector.select(PATIENCE) and (text := decode(os.read(self.fileno, READ))):
                    for message in parser.feed(text):
                        self.process_message(message)
                for message in parser.tick():
                    self.process_message(message)
