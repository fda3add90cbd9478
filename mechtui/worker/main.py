"""The model process: one thread reads the wire, one tells that it lives, the main one runs the model.

Everything here may be stopped at any moment: the process ends when its stdin does, unless it was told to stay; then
the next app comes in by the door.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import re
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from mechtui import __version__
from mechtui.allocator import map_large, tidy
from mechtui.link.frames import BrokenFrameError, Splitter, decode_request
from mechtui.link.messages import (
    Answered,
    Ask,
    Attach,
    Attached,
    Cancel,
    Checked,
    EditProblem,
    Failed,
    Fetch,
    Fetched,
    Finished,
    Heartbeat,
    Hello,
    Load,
    Models,
    ModelsFound,
    Progress,
    Quit,
    Reply,
    Request,
    Saved,
    SaveVectors,
    Sized,
    Stage,
    Started,
)
from mechtui.session.document import Session, surrogate
from mechtui.views import named_dictionaries, spec_of
from mechtui.worker.door import Door, open_door
from mechtui.worker.inbox import Inbox
from mechtui.worker.process import die_with_parent, resident_bytes
from mechtui.worker.wire import SocketWire, Wire, take_over

if TYPE_CHECKING:
    from mechtui.engine.api import Engine, OpenSession
    from mechtui.views import Question
    from mechtui.worker.check import Plain
    from mechtui.worker.models.loaded import LoadedModel
    from mechtui.worker.preparing import Preparing

HEARTBEAT_SECONDS = 1.0
# After so long without a request, memory that is not in use goes back to the system; sooner, the next run would have to
# fetch it again.
REST_SECONDS = 1.0
# After so long without a request, a model that was read directly is compared: what that takes to import slows answers
# down.
QUIET_SECONDS = 0.1
CANCELLED = "cancelled"
STOPPED = "Loading {} was stopped."


def main(keep_alive: float | None = None) -> None:
    """`mechtui worker`. Does not return: the process ends with its stdin or with Quit.

    keep_alive: stdin and stdout are one socket; when it ends, stay for so many seconds and wait for another app.
    """
    streams = take_over()
    wire: Wire
    if keep_alive is None:
        wire = Wire(streams)
        die_with_parent()
    else:
        os.close(streams[1])
        wire = SocketWire(socket.socket(fileno=streams[0]))
    map_large()
    wire.send(Hello(__version__))
    faulthandler.enable(file=sys.stderr)
    # The wire carries progress; a library's own bars only fill the log.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    Worker(wire, keep_alive).run()


class Worker:
    """What the process does with requests. `run` is the main thread's, `read` the reader's, `beat` a third's."""

    def __init__(self, wire: Wire, keep_alive: float | None = None) -> None:
        self.wire = wire
        self.door: Door | None = None
        if isinstance(wire, SocketWire):
            self.door, trouble = open_door(keep_alive or 0.0, self.end)
            wire.send(Attached(os.getpid(), trouble=trouble))
        self.inbox = Inbox()
        self.engine: Engine | None = None
        self.busy = False
        self.unchecked = False  # whether a model was loaded and not yet compared
        self.plain: Plain | None = None  # what it is to be compared with
        self.read_directly: LoadedModel | None = None  # one that was, and is not compared yet
        self.preparing: Preparing | None = None  # makes what that one is to be compared with
        self.checked: Checked | None = None
        self.loading: Load | None = None
        self.loaded: Load | None = None
        self.asked: Ask | None = None  # the newest, unless it was stopped
        self.come_for: Load | None = None  # the model for which an app has come that finds it here
        self.traces = 0  # bytes; kept here because traces change under whoever counts them from another thread
        self._imported = threading.Event()
        self._fetch_cancelled = threading.Event()
        self._fetching = threading.Lock()

    # The main thread

    def run(self) -> None:
        threading.Thread(target=self.read, name="reader", daemon=True).start()
        threading.Thread(target=self.beat, name="heartbeat", daemon=True).start()
        self.busy = True
        self._import()
        at_rest = False
        while True:
            self.busy = False
            if self.door is not None and self.door.alone and self.useless():
                self.end()
            self.traces = self.engine.trace_bytes if self.engine is not None else 0
            found = self.inbox.take(self.engine is not None, self._patience(at_rest))
            if found is None and self.unchecked:
                if self.prepared():
                    self.check()
                continue
            at_rest = found is None
            if found is None:
                tidy()
                continue
            self.busy = True
            request, number = found
            match request:
                case Load():
                    self.load(request)
                case Ask():
                    self.answer(request, number)
                    if any(question.costly for question in request.questions):
                        tidy()
                case SaveVectors():
                    self.save(request)

    def _import(self) -> None:
        """The heavy imports, once, before other threads may use what they bring."""
        # What modules bring stays for good: to look through it for garbage, now or later, is time lost.
        gc.disable()
        self.wire.send(Stage("load", "importing torch"))
        import torch  # noqa: F401

        import mechtui.engine.api
        import mechtui.worker.models.hub
        import mechtui.worker.models.load  # noqa: F401

        gc.freeze()
        gc.enable()
        self._imported.set()

    def _patience(self, at_rest: bool) -> float | None:
        """How long to wait for a request before something else is done; None: for as long as it takes."""
        if not self.unchecked:
            return None if at_rest else REST_SECONDS
        return 0.0 if self.read_directly is None else QUIET_SECONDS

    def load(self, request: Load, directly: bool = True) -> None:
        """Load a model; the one before it stays until this one is ready, and for good when this one fails."""
        from mechtui.engine.api import Cancelled, Engine
        from mechtui.engine.errors import ModelError
        from mechtui.worker import kept_checks
        from mechtui.worker.models.load import load

        self.loading = request
        try:
            model = load(request, self._progress("load"), lambda: self.inbox.load_stale, directly)
        except Cancelled:
            self.wire.send(Failed("load", STOPPED.format(request.model), model=request.model))
        except ModelError as error:
            short = out_of_memory(error.__cause__) if error.__cause__ is not None else None
            sentence = f"{request.model or 'The model'} cannot be loaded. {short}" if short else str(error)
            self.wire.send(Failed("load", sentence, model=request.model))
        except Exception as error:  # noqa: BLE001 - whatever it was, the user is told and the process lives on
            self.wire.send(Failed("load", _unexpected("loading the model", error), model=request.model))
        else:
            self.engine = Engine(
                model,
                lambda name, cancelled: load(replace(request, model=name), lambda *said: None, cancelled, directly),
            )
            self.plain, model.plain = model.plain, None
            kept = None
            if model.compared_with is not None:
                kept = kept_checks.read(model, model.folder)
            self.read_directly = model if model.compared_with is not None and kept is None else None
            self.preparing = None
            # Before it is said: an app that comes in between is told by the reader.
            self.checked, self.loaded, self.loading = kept, request, None
            self.unchecked = kept is None
            self.wire.send(model.ready)
            if kept is not None:
                self.wire.send(kept)
        if self.loading is not None:
            self.loading = None
            if self.door is not None and self.loaded is not None and not self.inbox.load_waits:
                self.door.loads(self.loaded)

    def prepared(self) -> bool:
        """Whether what the model is compared with can be had now; else another thread makes it, while this one
        answers."""
        from mechtui.worker.preparing import Preparing

        if self.read_directly is None:
            return True
        if self.preparing is None:
            self.preparing = Preparing(self.read_directly)
            self.preparing.start()
        return not self.preparing.is_alive()

    def check(self) -> None:
        """Compare the model with Hugging Face's own forward; what arrives meanwhile goes first."""
        from mechtui.engine.api import Cancelled
        from mechtui.engine.errors import ModelError
        from mechtui.worker import kept_checks
        from mechtui.worker.check import compare
        from mechtui.worker.models.loaded import NoRoomError, OtherTokensError

        assert self.engine is not None
        name, directly = self.engine.model.ready.name, self.read_directly
        checked, other = Checked(name), ""
        try:
            if self.preparing is not None and self.plain is None:
                self.plain = self.preparing.made()
            if self.plain is not None:
                checked = compare(self.engine, self.plain, lambda: self.inbox.waits)
                other = checked.sentence
        except Cancelled:
            return  # and again when there is nothing to do
        except NoRoomError:
            pass  # what could not be compared is not said to hold
        except OtherTokensError:
            other = f"Self-check: Hugging Face's own tokenizer reads texts otherwise, so do not trust {name}."
        except ModelError as error:
            checked = Checked(name, sentence=f"Self-check: there is nothing to compare {name} with: {error}.")
        except Exception as error:  # noqa: BLE001 - whatever it was, the user is told and the process lives on
            checked = Checked(name, sentence=_unexpected(f"the self-check of {name}", error))
        self.unchecked, self.plain, self.read_directly, self.preparing = False, None, None, None
        if directly is not None and other:
            print(f"mechtui worker: read directly, {other}", file=sys.stderr, flush=True)
            before = self.engine
            self.load(self.loaded or Load(name), directly=False)  # as transformers reads it, with the bridge around it
            if self.engine is not before:
                return
            checked = Checked(name, checked.differences, checked.tolerance, other)
        elif directly is not None:
            kept_checks.write(directly, directly.folder, checked)
        self.checked = checked
        self.wire.send(checked)

    def answer(self, ask: Ask, number: int) -> None:
        """Answer an Ask's questions in their order. number: how many Asks had arrived when it was taken."""
        from mechtui.engine.api import Cancelled, SessionError, Unread

        assert self.engine is not None
        began, short = time.perf_counter(), ""

        def cancelled() -> bool:
            return self.inbox.overtaken(number)

        def say(reply: Reply) -> None:
            self.wire.send(reply, number)

        told: tuple[EditProblem, ...] | None = None

        def tell(opened: OpenSession, problems: tuple[EditProblem, ...] | None = None) -> None:
            """What of the edits cannot be applied, where more of them is known than was told."""
            nonlocal told
            known = opened.known_problems if problems is None else problems
            if known != told:
                told = known
                say(Started(ask.generation, known, opened.told_of(named_dictionaries(ask.session, ask.questions))))

        def answer(opened: OpenSession, question: Question) -> None:
            asked = time.perf_counter()
            opened.progress = partial(self._computed, ask.generation, number, question)
            try:
                for clean, edited, more in opened.answer(question):
                    if cancelled():
                        raise Cancelled
                    tell(opened)
                    ms = (time.perf_counter() - asked) * 1000
                    say(Answered(ask.generation, question, clean, edited, ms, more))
            except SessionError as error:
                tell(opened)
                say(Failed("ask", str(error), ask.generation, question=question, lacks=error.lacks))
            except (RuntimeError, MemoryError) as error:
                # The next question may need less; of several that do not the first says it for all.
                nonlocal short
                short = short or self._ran_out(error)
                if not short:
                    raise
                say(Failed("ask", short, ask.generation, question=question))

        try:
            if cancelled():
                raise Cancelled
            try:
                opened = self.engine.open(ask.session, cancelled, ask.questions, self._told(ask, number))
            except SessionError:
                # What needs no prompt is answered all the same.
                if alone := tuple(question for question in ask.questions if spec_of(question).alone):
                    session = Session(model=ask.session.model, saes=ask.session.saes, bos=ask.session.bos)
                    opened = self.engine.open(session, cancelled, alone)
                    for question in alone:
                        answer(opened, question)
                raise
            tell(opened)
            if ask.ahead:
                opened.run_together(ask.ahead)
            # What needs an edit whose vector is to be read from files waits until all else is answered.
            waiting = list(ask.questions)
            for reads in (False, True):
                opened.reads = reads
                asked, waiting = waiting, []
                for question in asked:
                    try:
                        answer(opened, question)
                    except Unread:
                        waiting.append(question)
            tell(opened, opened.problems)
            say(Finished(ask.generation, (time.perf_counter() - began) * 1000, opened.ran))
            if ask.questions:
                self._run_ahead(opened)
        except Cancelled:
            if self.inbox.stopped(number):
                say(Finished(ask.generation, (time.perf_counter() - began) * 1000, CANCELLED))
        except SessionError as error:
            say(Failed("ask", str(error), ask.generation, mistake=True))
        except Exception as error:  # noqa: BLE001 - whatever it was, the user is told and the process lives on
            say(Failed("ask", _unexpected("this run", error), ask.generation))

    def _run_ahead(self, opened: OpenSession) -> None:
        """What nobody has asked for yet: whether it can be done is not said."""
        from mechtui.engine.api import Cancelled

        try:
            opened.run_ahead()
        except Cancelled:
            pass
        except (RuntimeError, MemoryError) as error:
            if not self._ran_out(error):
                raise

    def _ran_out(self, error: Exception) -> str:
        """The sentence for an error that says that memory ran out; what was kept of runs is let go of then. Empty for
        any other."""
        sentence = out_of_memory(error)
        if sentence is not None and self.engine is not None:
            self.engine.forget()
        return sentence or ""

    def _told(self, ask: Ask, number: int) -> Callable[[float], None]:
        """What is told how much is read before the first question is begun."""
        first = next(iter(ask.questions), None)
        return (lambda share: None) if first is None else partial(self._computed, ask.generation, number, first)

    def _computed(self, generation: int, number: int, question: Question, fraction: float) -> None:
        self.wire.send(Progress(generation, question, fraction), number)

    def save(self, request: SaveVectors) -> None:
        from mechtui.engine.api import SessionError

        assert self.engine is not None
        try:
            names = self.engine.save_vectors(request.session, request.path)
        except SessionError as error:
            self.wire.send(Failed("save_vectors", str(error)))
        except Exception as error:  # noqa: BLE001 - whatever it was, the user is told and the process lives on
            self.wire.send(Failed("save_vectors", _unexpected("saving the vectors", error)))
        else:
            self.wire.send(Saved(request.path, tuple(names)))

    def _progress(self, task: Literal["load", "fetch"]) -> Callable[[str, float | None, str], None]:
        def progress(stage: str, fraction: float | None = None, detail: str = "") -> None:
            self.wire.send(Stage(task, stage, fraction, detail))

        return progress

    # The other threads

    def read(self) -> None:
        """Take requests until nobody is left to make any. A process that hears nothing is of no use: whatever goes
        wrong here ends it, and the app starts another."""
        try:
            self._read()
        except Exception as error:  # noqa: BLE001 - out of memory, say
            with suppress(OSError):
                traceback.print_exception(error, file=sys.stderr)
            os._exit(1)

    def _read(self) -> None:
        """Take requests from the wire until it ends, and then from that of the next app; when none comes, this process
        ends, whatever it is doing."""
        while True:
            splitter, status = Splitter(), 0
            try:
                while data := self.wire.read():
                    for body in splitter.feed(data):
                        self.receive(decode_request(body))
            except BrokenFrameError as error:
                with suppress(OSError):  # a log on a disk that is full
                    print(f"mechtui worker: {error}", file=sys.stderr, flush=True)
                status = 2
            if not isinstance(self.wire, SocketWire) or self.door is None:
                os._exit(status)
            self.wire.let_go()
            came = self.door.wait(self.useless)
            if came is None:
                self.end()
            else:
                self.take(self.wire, *came)

    def take(self, wire: SocketWire, line: socket.socket, attach: Attach) -> None:
        """Another app has come. What is under way goes on; the app may ask for it, or for something else."""
        with suppress(OSError):
            os.chdir(attach.folder)
        self.come_for = attach.load
        wire.take(line, Attached(os.getpid(), self.asked), self.inbox.asks)

    def useless(self) -> bool:
        """Whether there is no model, and none on its way."""
        return self.engine is None and not self.busy and not self.inbox.load_waits

    def end(self) -> None:
        """At once, whatever is under way."""
        if self.door is not None:
            self.door.close()
        os._exit(0)

    def here(self, load: Load) -> bool:
        """Say that this model is here, if an app has come for it. One that is still being loaded says so itself."""
        come_for, self.come_for = self.come_for, None
        if come_for != load:
            return False
        if self.inbox.load_waits or self.loading == load:
            return True
        if self.engine is None or self.loaded != load:
            return False
        self.wire.send(self.engine.model.ready)
        if self.checked is not None:
            self.wire.send(self.checked)
        return True

    def refused_at_once(self, load: Load) -> bool:
        """Say that there is no such model, where that can be said before torch is imported."""
        if self._imported.is_set() or self.inbox.load_waits or not load.model:
            return False
        from mechtui.engine.errors import ModelError
        from mechtui.worker.models.names import place

        try:
            place(load.model)
        except ModelError as error:
            self.wire.send(Failed("load", str(error), model=load.model))
            return True
        return False

    def receive(self, request: Request) -> None:
        match request:
            case Load() if self.here(request):
                pass
            case Load() if self.refused_at_once(request):
                pass
            case Load():
                if self.door is not None:
                    self.door.loads(request)
                self.asked = None
                self.inbox.put(request)
            case Ask():
                self.asked = request
                self.inbox.put(request)
            case SaveVectors():
                self.inbox.put(request)
            case Cancel(what="ask"):
                self.asked = None
                self.inbox.stop_asks()
            case Cancel(what="load"):
                if (waited := self.inbox.stop_load()) is not None:
                    self.wire.send(Failed("load", STOPPED.format(waited.model), model=waited.model))
            case Cancel():
                self._fetch_cancelled.set()
            case Models():
                threading.Thread(target=self.find, name="find", daemon=True).start()
            case Fetch():
                threading.Thread(target=self.fetch, args=(request,), name="fetch", daemon=True).start()
            case Attach():
                pass  # it is the first frame of a connection, which the door reads
            case Quit():
                self.end()

    def find(self) -> None:
        self._imported.wait()
        from mechtui.worker.models.names import find

        try:
            found = find()
        except Exception as error:  # noqa: BLE001 - the picker takes what is typed all the same
            _unexpected("looking for models", error)
            found = ()
        # A folder's name that is no text can be neither sent nor typed.
        self.wire.send(ModelsFound(tuple(model for model in found if surrogate(model.name + model.detail) is None)))

    def fetch(self, request: Fetch) -> None:
        """Download a model. One at a time; it never touches the model that runs."""
        self._imported.wait()
        from mechtui.engine.api import Cancelled
        from mechtui.engine.errors import ModelError
        from mechtui.worker.models.hub import download_size, fetch

        if not self._fetching.acquire(blocking=False):
            self.wire.send(Failed("fetch", "Another download is under way; cancel it first.", model=request.model))
            return
        try:
            self._fetch_cancelled.clear()
            if request.ask:
                self.wire.send(Sized(request.model, download_size(request.model)))
                return
            fetch(request.model, self._progress("fetch"), self._fetch_cancelled.is_set)
        except Cancelled:
            self.wire.send(Failed("fetch", "The download was cancelled; it resumes next time.", model=request.model))
        except ModelError as error:
            self.wire.send(Failed("fetch", str(error), model=request.model))
        except Exception as error:  # noqa: BLE001 - whatever it was, the user is told and the process lives on
            self.wire.send(Failed("fetch", _unexpected("the download", error), model=request.model))
        else:
            self.wire.send(Fetched(request.model))
        finally:
            self._fetching.release()

    def beat(self) -> None:
        while True:
            with suppress(MemoryError):  # whatever is short, the process lives
                self.wire.send(Heartbeat(resident_bytes(), self.traces, self.busy))
            time.sleep(HEARTBEAT_SECONDS)


def _unexpected(what: str, error: Exception) -> str:
    """One sentence for an error that nobody foresaw; the whole of it goes to the log."""
    with suppress(OSError):  # a log on a disk that is full
        traceback.print_exception(error, file=sys.stderr)
        sys.stderr.flush()
    failed = f"{what[0].upper()}{what[1:]} failed, by a mistake in mechtui; the log has the rest"
    return out_of_memory(error) or f"{failed}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no message"


def out_of_memory(error: BaseException) -> str | None:
    """The sentence for an error that says that memory ran out, with what was needed and what is free."""
    from mechtui.engine.memory import free_on_cpu, ran_out_on_cpu, ran_out_on_gpu

    text, on_cpu = str(error), ran_out_on_cpu(error)
    if not on_cpu and not ran_out_on_gpu(error):
        return None
    amount = r"(\d+(?:\.\d+)? (?:bytes|[KMGT]i?B))"
    needed = re.search(rf"(?:allocate|tried to allocate) {amount}", text)
    free = re.search(rf"{amount} is free", text)
    said = f"{_large(needed[1])} more were needed" if needed else "more was needed"
    left = free[1] if free else _large(f"{free_on_cpu()} bytes") if on_cpu else ""
    where = "memory" if on_cpu else "the device's memory"
    had = f" and {left} are free" if left else ""
    return f"Out of memory: {said}{had} in {where}; take a shorter prompt, a smaller model or float16."


def _large(amount: str) -> str:
    """Bytes as people say them."""
    count, unit = amount.split()
    if unit != "bytes":
        return amount
    size = int(count)
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
