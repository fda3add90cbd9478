"""The UI's end of the wire: finds or starts the model process, watches it, and brings it back when it dies.

The client keeps what it needs to bring a new process to where the old one was: the last Load and the last
Ask. Nothing in here waits for the model.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Literal, Protocol

import msgspec

import mechtui
from mechtui import __version__
from mechtui.duration import said
from mechtui.link import live
from mechtui.link.frames import BrokenFrameError, Splitter, UnsendableError, decode_reply, encode
from mechtui.link.messages import (
    Answered,
    Ask,
    Attached,
    Cancel,
    Failed,
    Fetch,
    Fetched,
    Finished,
    Heartbeat,
    Hello,
    Load,
    Models,
    Progress,
    Quit,
    Ready,
    Reply,
    Request,
    Saved,
    SaveVectors,
    Sized,
    Started,
)
from mechtui.link.process import Piped, Process, Socketed, kill
from mechtui.session.paths import reason, state_dir

LOG_LIMIT = 1_000_000
# Seconds between a death and the next start, by how many died in a row: it stays down after one more than there are.
AT_ONCE = (0.0, 0.0)
LATER_AND_LATER = (0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0)
# One that lived for so many seconds did not die in a row with those before.
STEADY = 30.0
KILL_AFTER = 1.0
# A process says every second that it lives. After so many looks, a second apart, in which it said nothing it does not
# answer; while it imports and loads, what holds the interpreter's lock may take longer.
LOOK = 1.0
QUIET, QUIET_START = 6, 30


class Life(msgspec.Struct, frozen=True):
    """How the model process is. `sentence` says why, where there is a why, and that there is no log.

    starting: the process was started. attached: one was found that another app had left. restarting: it died and a new
    one is being started. waiting: it died, and a new one is started in so many seconds. stopped: it died too often;
    `restart` and the next Load start it again. silent: it has said nothing for so many seconds. heard: it speaks again.
    deaths: how many died in a row.
    """

    state: Literal["starting", "attached", "restarting", "waiting", "stopped", "silent", "heard"]
    sentence: str = ""
    pid: int = 0
    deaths: int = 0
    seconds: float = 0.0


class Left(msgspec.Struct, frozen=True):
    """A model process that stays for so many seconds after its app."""

    pid: int
    seconds: float

    def sentence(self) -> str:
        stays = f"the model stays in memory for {said(self.seconds)} (process {self.pid})"
        return f"{stays}: mechtui comes back to it, mechtui stop ends it"


class Link(Protocol):
    """What the UI knows of the wire. `on_reply` is called on the event loop, in the order of arrival, and is
    never given a reply to an older Ask than the newest one sent."""

    on_reply: Callable[[Reply | Life], None]

    async def start(self, load: Load | None = None) -> None: ...

    def send(self, request: Request) -> None: ...

    def restart(self) -> None: ...

    async def close(self) -> None: ...


def worker_command() -> list[str]:
    """The model process of this installation. -P keeps a torch.py in the current folder from being imported,
    unless the current folder is where mechtui itself is imported from."""
    here = Path(mechtui.__file__).resolve().parents[1]
    safe = [] if here == Path.cwd().resolve() else ["-P"]
    return [sys.executable, *safe, "-m", "mechtui", "worker"]


def log_path(path: Path | None = None) -> Path:
    """`path`, or the log in the state folder. Raises OSError."""
    return state_dir() / "worker.log" if path is None else path


def open_log(path: Path | None = None) -> IO[bytes]:
    """The file that takes the model process's stderr and the tracebacks of the app (mode 0600). Raises OSError."""
    own, path = path is None, log_path(path)
    if own and path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(path.with_suffix(".log.1"))
    # A link in our own folder leads nowhere of ours. Without O_NONBLOCK, a pipe that nobody reads would stop us.
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | (os.O_NOFOLLOW if own else 0)
    handle = os.open(path, flags, 0o600)
    os.set_blocking(handle, True)
    if own:
        os.fchmod(handle, 0o600)
    return os.fdopen(handle, "ab")


def why(returncode: int | None, rss: int = 0) -> str:
    """One sentence on how a process ended. returncode: None for another program's child. rss: the bytes it was last
    known to hold, 0 where unknown."""
    if returncode is None:
        return "The model process, which had been kept, has ended."
    if returncode >= 0:
        return f"The model process ended by itself with exit status {returncode}."
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    held = f" It held {rss / 1e9:.1f} GB." if rss >= 5e7 else ""
    if returncode == -signal.SIGKILL:
        return f"The model process was killed ({name}), probably because memory ran out.{held}"
    if returncode in (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT, -signal.SIGILL, -signal.SIGFPE):
        return f"The model process crashed in native code ({name}).{held}"
    return f"The model process was ended by {name}.{held}"


class Outbox:
    """Requests in order, of which at most one is an Ask: the newest."""

    def __init__(self) -> None:
        self._waiting: deque[Request] = deque()
        self._filled = asyncio.Event()

    def put(self, request: Request) -> None:
        if isinstance(request, Ask):
            self._waiting = deque(each for each in self._waiting if not isinstance(each, Ask))
        self._waiting.append(request)
        self._filled.set()

    def drop(self, *kinds: type[Request]) -> None:
        self._waiting = deque(each for each in self._waiting if not isinstance(each, kinds))

    def begin_with(self, *first: Request) -> None:
        """A new process is told these, and then the rest."""
        self.drop(Ask, Load, Cancel)
        self._waiting.extendleft(reversed(first))
        self._filled.set()

    async def take(self) -> Request:
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        return self._waiting.popleft()


def _ignore(reply: Reply | Life) -> None:
    """Until the UI says who wants the replies."""


class Client:
    """A `Link` to a real model process.

    command: the process to start (default: this installation's worker; anything that speaks the wire on its
    stdin and stdout will do). log: file for its stderr, default worker.log in the state folder. keep_alive: seconds
    that the process stays when this program goes; 0: it ends with it. None: nor is one sought that another left.
    keep_found: nobody has said how long: one that is found stays as it was to stay before. pauses: see AT_ONCE.
    """

    def __init__(
        self,
        on_reply: Callable[[Reply | Life], None] = _ignore,
        *,
        command: list[str] | None = None,
        log: Path | None = None,
        keep_alive: float | None = None,
        keep_found: bool = False,
        pauses: Sequence[float] = AT_ONCE,
    ) -> None:
        self.on_reply = on_reply
        self.left: Left | None = None  # after `close`: the process that stays
        self._command = command or worker_command()
        self._log = log
        self._keep_alive = keep_alive
        self._keep_found = keep_found
        self._process: Process | None = None
        self._can_stay = False  # whether the process has said so
        self._outbox = Outbox()
        self._watcher: asyncio.Task[None] | None = None
        # The model that is wanted; the one that is being loaded, the one whose loading was stopped and that may go on
        # nevertheless, and the one that came last.
        self._load: Load | None = None
        self._loading: Load | None = None
        self._stopping: Load | None = None
        self._loaded: Load | None = None
        self._ask: Ask | None = None
        self._generation = -1
        self._under_way: dict[Literal["fetch", "save_vectors"], str] = {}
        self._pauses = pauses
        self._deaths = 0  # in a row
        self._began = 0.0  # when the process was started
        self._again = asyncio.Event()  # the next one is not waited for any longer
        self._replaced = False  # the process was ended for another to take its place
        self._foreign = ""  # what mechtui the process is of, where that is another one
        self._unreached = ""  # why nothing can be sent to it
        self._is_ready = False  # whether this process has loaded a model
        self._spoke = False  # since the last look
        self._rss = 0
        self._begun = False  # whether `start` has done what it can
        self._closing = False

    @property
    def pid(self) -> int:
        """Of the model process; 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    async def start(self, load: Load | None = None) -> None:
        """Find a live process that holds the model which will be asked for, or start one. Raises OSError when none can
        be started at all."""
        self._closing, self.left = False, None
        try:
            if load is None or self._keep_alive is None or not await self._attach(load, self._keep_alive):
                await self._spawn("starting", "")
        finally:
            self._begun = True
        self._watcher = asyncio.create_task(self._watch(), name="model process")

    async def _attach(self, load: Load, seconds: float) -> bool:
        found = await live.attach(load, None if self._keep_found else seconds)
        if found is None:
            return False
        line, attached, page = found
        if self._keep_found:
            self._keep_alive = page.seconds
        self._process = await Socketed.over(line, attached.pid)
        self._began = time.monotonic()
        ago = f", where mechtui left it {said(time.time() - page.left)} ago" if page.left else ""
        self.on_reply(Life("attached", f"The model was still in memory{ago}.", attached.pid))
        self._deliver(attached)
        return True

    def send(self, request: Request) -> None:
        """Never blocks. An Ask takes the place of one that was not sent yet."""
        match request:
            case Load():
                self._stop_loading()
                self._load = self._loading = request
            case Ask():
                self._ask = request
                self._generation = max(self._generation, request.generation)
            case Fetch():
                self._under_way["fetch"] = request.model
            case SaveVectors():
                self._under_way["save_vectors"] = request.path
            case Cancel(what="load"):
                self._stop_loading()
                self._load = self._loaded
                return
            case Cancel(what="ask") if self._ask is not None:
                # What the user stopped must not begin again in a new process.
                self._ask = msgspec.structs.replace(self._ask, questions=())
        self._outbox.put(request)
        if self._process is None and isinstance(request, Load | Fetch | Models):
            self.restart()  # a new process is told of it when it starts

    def restart(self) -> None:
        """Start the process anew, whatever it is doing; at once, where that is waited for."""
        if self._closing or not self._begun:
            return
        self._deaths = 0
        if self._process is not None:
            self._replaced = True
            self._process.signal(signal.SIGKILL)
        elif self._watcher is not None and not self._watcher.done():
            self._again.set()
        else:
            self._watcher = asyncio.create_task(self._revive(), name="model process")

    def _stop_loading(self) -> None:
        """Ask the process to stop loading; one that does not is ended."""
        if self._loading is not None:
            self._stopping, self._loading = self._loading, None
            self._outbox.put(Cancel("load"))
            asyncio.get_running_loop().call_later(KILL_AFTER, self._insist, self._stopping)

    def _insist(self, load: Load) -> None:
        if self._stopping is load:
            self.kill()

    async def close(self) -> None:
        """Leave the process where it is to stay; else ask it to quit, end it if it does not, and return when it is
        gone."""
        self._closing = True
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
            self._watcher = None
        # It stays known until it is gone, so that `kill` finds it.
        process = self._process
        if process is not None:
            if self._stays:
                await process.leave()
                self.left = Left(process.pid, self._keep_alive or 0.0)
            else:
                await self._quit(process)
            self._process = None

    @property
    def _stays(self) -> bool:
        """Whether the process outlives this program. One that holds no model is not worth it."""
        return bool(self._keep_alive) and self._can_stay and (self._loaded or self._loading) is not None

    async def _quit(self, process: Process) -> None:
        process.last_words(encode(Quit()))
        for sign in (None, signal.SIGTERM, signal.SIGKILL):
            if sign is not None:
                process.signal(sign)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), KILL_AFTER / 2)
                return
        await process.wait()

    def kill(self) -> None:
        """End the process at once, from any thread, where nothing can be waited for."""
        kill(self.pid)

    def abandon(self) -> None:
        """This program ends at once: so does the process, unless it is to stay. From any thread."""
        if not self._stays:
            self.kill()

    async def _spawn(self, state: Literal["starting", "restarting"], sentence: str) -> None:
        try:
            opened = open_log(self._log)
        except OSError as error:
            opened = open_log(Path(os.devnull))
            unlogged = f"No log is written: {error.filename}: {error.strerror}."
            sentence = f"{sentence} {unlogged}" if sentence else unlogged
        with opened as log:
            self._can_stay = self._is_ready = False
            self._process = await self._new(log)
        self._rss, self._began = 0, time.monotonic()
        self.on_reply(Life(state, sentence, self._process.pid, self._deaths))

    async def _new(self, log: IO[bytes]) -> Process:
        if not self._keep_alive:
            return await Piped.start(self._command, log)
        return await Socketed.start([*self._command, "--keep-alive", f"{self._keep_alive:g}"], log)

    async def _revive(self) -> None:
        """After a stop: a new process, brought to where the old one was."""
        if await self._follow("", by_itself=False):
            await self._watch()

    async def _watch(self) -> None:
        """One process after another until one is asked to quit or too many have died."""
        while True:
            assert self._process is not None
            sentence, by_itself = await self._until_gone(self._process)
            if not await self._follow(sentence, by_itself=by_itself):
                return

    async def _until_gone(self, process: Process) -> tuple[str, bool]:
        """Speak with this process until it ends -> why it did, and whether by itself."""
        self._replaced, self._foreign, self._unreached = False, "", ""
        beside = (
            asyncio.create_task(self._write(process), name="to the model process"),
            asyncio.create_task(self._look(process), name="whether the model process speaks"),
        )
        try:
            sentence = await self._read(process)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        self._process = None
        stopped, self._stopping = self._stopping, None
        if stopped is not None:
            sentence = f"Loading {stopped.model or 'the default model'} was stopped."
            if self._loading is None:
                self.on_reply(Failed("load", sentence, model=stopped.model))
        if self._replaced:
            sentence = "The model process was ended, and another one takes its place."
        self._loading = None  # what is on its way is told a new process
        self._give_up_errands(sentence)
        return sentence, stopped is None and not self._replaced

    async def _follow(self, sentence: str, *, by_itself: bool) -> bool:
        """Start a process after one that has ended, for this reason -> whether there is one. by_itself: nobody had
        ended it."""
        if time.monotonic() - self._began >= STEADY:
            self._deaths = 0
        while True:
            if by_itself:
                self._deaths += 1
                if self._foreign or self._deaths > len(self._pauses):
                    self.on_reply(Life("stopped", sentence, deaths=self._deaths))
                    return False
                if pause := self._pauses[self._deaths - 1]:
                    self.on_reply(Life("waiting", sentence, deaths=self._deaths, seconds=pause))
                    sentence = ""
                    await self._pause(pause)
            self._resend()
            try:
                await self._spawn("restarting" if by_itself or self._load is not None else "starting", sentence)
            except OSError as error:
                sentence, by_itself = f"The model process cannot be started: {live.trouble(error)}.", True
            else:
                return True

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until the next process is wanted at once."""
        self._again.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._again.wait(), seconds)

    def _resend(self) -> None:
        self._loading = self._load
        self._outbox.begin_with(*(request for request in (self._load, self._ask) if request is not None))

    async def _look(self, process: Process) -> None:
        """Tell when the process has said nothing for long, and when it speaks again."""
        looks, silent = 0, False
        while True:
            # Looks are counted, not seconds: while this program is stopped itself, it makes none.
            await asyncio.sleep(LOOK)
            spoke, self._spoke = self._spoke, False
            looks = 0 if spoke else looks + 1
            if spoke and silent:
                self.on_reply(Life("heard", pid=process.pid))
                silent = False
            elif not silent and looks >= (QUIET if self._is_ready and self._loading is None else QUIET_START):
                self.on_reply(Life("silent", pid=process.pid, seconds=looks * LOOK))
                silent = True

    def _give_up_errands(self, sentence: str) -> None:
        """What was asked for once and is not asked for again in a new process has failed."""
        for task, name in self._under_way.items():
            self.on_reply(Failed(task, sentence, model=name))
        self._under_way.clear()
        self._outbox.drop(Fetch, SaveVectors)

    async def _write(self, process: Process) -> None:
        while True:
            request = await self._outbox.take()
            try:
                await process.write(encode(request))
            except UnsendableError as error:
                self._refuse(request, f"This cannot be sent to the model process: {error}.")
            except ConnectionError:
                return  # it died; the reader says why
            except OSError as error:
                self._unreached = reason(error)
                process.signal(signal.SIGKILL)
                return

    def _refuse(self, request: Request, sentence: str) -> None:
        match request:
            case Ask(generation=generation):
                self._deliver(Failed("ask", sentence, generation))
            case Load(model=model):
                self._deliver(Failed("load", sentence, model=model))
            case Fetch(model=model):
                self._deliver(Failed("fetch", sentence, model=model))
            case SaveVectors():
                self._deliver(Failed("save_vectors", sentence))
            case _:
                pass  # the rest holds nothing that was typed

    async def _read(self, process: Process) -> str:
        """Hand on replies until the process ends -> why it did."""
        splitter = Splitter()
        broken = ""
        try:
            while data := await process.read():
                self._spoke = True
                for body in splitter.feed(data):
                    self._hear(decode_reply(body))
        except BrokenFrameError as error:
            broken = f"The model process was ended because it said something that cannot be read: {error}."
            if self._foreign:
                both = f"The model process is of mechtui {self._foreign}, and this is {__version__}"
                broken = f"{both}: it was replaced meanwhile. Quit, and start mechtui again."
        except OSError as error:
            broken = f"The model process was ended because nothing can be heard of it: {reason(error)}."
        if broken:
            process.signal(signal.SIGKILL)
        returncode = await process.wait()
        if self._unreached and not broken:
            broken = f"The model process was ended because nothing reaches it: {self._unreached}."
        return broken or why(returncode, self._rss)

    def _hear(self, reply: Reply) -> None:
        """Raises BrokenFrameError where the process is of another mechtui."""
        if not isinstance(reply, Hello):
            self._deliver(reply)
        elif reply.version != __version__:
            self._foreign = reply.version
            raise BrokenFrameError(f"it is of mechtui {reply.version}")

    def _deliver(self, reply: Reply) -> None:
        match reply:
            case Started() | Answered() | Progress() | Finished() if reply.generation < self._generation:
                return
            case Failed(task="ask", generation=generation) if 0 <= generation < self._generation:
                return
            case Ready() | Failed(task="load"):
                self._is_ready |= isinstance(reply, Ready)
                if not self._load_ended(reply):
                    return
            case Attached():
                self._can_stay = not reply.trouble
            case Heartbeat():
                self._rss = reply.rss
            case Fetched() | Sized() | Failed(task="fetch"):
                self._under_way.pop("fetch", None)
            case Saved() | Failed(task="save_vectors"):
                self._under_way.pop("save_vectors", None)
            case _:
                pass
        self.on_reply(reply)

    def _load_ended(self, reply: Ready | Failed) -> bool:
        """Keep what it says of models; whether it is news: another model is being loaded in place of one that was
        stopped."""
        name = reply.name if isinstance(reply, Ready) else reply.model
        ended: Load | None
        if self._stopping is not None and self._stopping.model == name:
            ended, self._stopping = self._stopping, None
        else:
            ended, self._loading = self._loading, None
        if isinstance(reply, Ready) and ended is not None:  # else it is said again of what is there already
            self._loaded = ended
        return isinstance(reply, Ready) or self._loading is None
