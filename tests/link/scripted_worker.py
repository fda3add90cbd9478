"""A process that speaks the wire and does what the prompt says, for tests of the client alone.

A Load is answered with a Failed that carries this process's pid (no model is here). An Ask with: "die SIGNAL" -
it kills itself; "exit N"; "noise" - bytes that are no frame; "hang" - it deafens itself; anything else - Started
and Finished. A Fetch is never answered,
nor is a Load of "endless"; one of "polite" is, when it is stopped.
"""

from __future__ import annotations

import os
import signal
import sys

from mechtui.link.frames import Splitter, decode_request, encode
from mechtui.link.messages import Ask, Cancel, Failed, Finished, Load, Quit, Reply, Started


def say(reply: Reply) -> None:
    sys.stdout.buffer.write(encode(reply))
    sys.stdout.buffer.flush()


def main() -> None:
    splitter = Splitter()
    loading = ""
    while data := os.read(0, 1 << 16):
        for body in splitter.feed(data):
            match decode_request(body):
                case Load(model="endless" | "polite" as model):
                    loading = model
                case Cancel(what="load") if loading == "polite":
                    say(Failed("load", "stopped", model=loading))
                case Load(model=model):
                    say(Failed("load", f"{model} {os.getpid()}"))
                case Ask(generation=generation, session=session):
                    word, _, rest = session.prompt.partition(" ")
                    if word == "die":
                        os.kill(os.getpid(), signal.Signals[rest])
                    elif word == "exit":
                        sys.exit(int(rest))
                    elif word == "noise":
                        sys.stdout.buffer.write(b"\xff" * 64)
                        sys.stdout.buffer.flush()
                    elif word == "hang":
                        signal.signal(signal.SIGTERM, signal.SIG_IGN)
                        say(Started(generation))
                        while True:
                            signal.pause()
                    else:
                        say(Started(generation))
                        say(Finished(generation, 1.0, session.prompt))
                case Quit():
                    sys.exit(0)
                case _:
                    pass


main()
