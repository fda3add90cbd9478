"""Everything that crosses the wire, as structs.

UI -> model process: Load, Ask, Models, Fetch, Cancel, Attach, Quit. Model process -> UI: the rest. An Ask replaces
the one before it (newest wins); each Answered carries the generation of its Ask, and older ones are dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from mechtui.session.dictionaries import About
from mechtui.session.document import ModelShape, Session
from mechtui.views import Answer, Question, answer_types, question_types

if TYPE_CHECKING:
    AnyQuestion = Question
    AnyAnswer = Answer
else:  # msgspec decodes to the view's own struct
    AnyQuestion = question_types()
    AnyAnswer = answer_types()


class Message(msgspec.Struct, frozen=True, tag_field="message"):
    """One frame."""


# UI -> model process


class Load(Message, frozen=True, tag="load"):
    """Load a model; the one before it stays until this one is ready. dtype, device: "auto" or torch's names."""

    model: str
    device: str = "auto"
    dtype: str = "auto"
    device_map: str = ""
    fold_ln: bool = False
    trust_remote_code: bool = False


class Ask(Message, frozen=True, tag="ask"):
    """Questions about a session, in the order in which the user looks at them. Without any, only what of the session
    cannot be applied is said; nothing runs. ahead: sessions that will be asked the same next: their clean runs may
    share a pass through the weights with this one's."""

    generation: int
    session: Session
    questions: tuple[AnyQuestion, ...]
    ahead: tuple[Session, ...] = ()


class Models(Message, frozen=True, tag="models"):
    """Which models lie on this machine?"""


class Fetch(Message, frozen=True, tag="fetch"):
    """Download a model from the hub; the running model stays usable meanwhile. ask: only say how large it is."""

    model: str
    ask: bool = False


class Cancel(Message, frozen=True, tag="cancel"):
    """Stop what is under way: "ask" (a generation, say), "fetch" or "load". A load that was stopped has failed."""

    what: Literal["ask", "fetch", "load"]


class SaveVectors(Message, frozen=True, tag="save_vectors"):
    """Write the session's vectors to a safetensors file."""

    session: Session
    path: str


class Attach(Message, frozen=True, tag="attach"):
    """The first frame to a live process, which another app has left. It is answered by Attached, or by the end of the
    connection where the process does not fit or has an app. build: see `mechtui.link.live.build`. load: the model that
    is wanted; the Load that follows, if it is the same, is answered at once. seconds: how long the process stays when
    this app goes; 0: not at all. folder: that of the app, which file names are relative to."""

    build: str
    load: Load
    seconds: float
    folder: str


class Quit(Message, frozen=True, tag="quit"):
    pass


# Model process -> UI


class Stage(Message, frozen=True, tag="stage"):
    """What loading is doing. fraction 0..1, None where nobody knows; detail as "231 of 548 MB, 12 MB/s, 26 s"."""

    task: Literal["load", "fetch"]
    stage: str
    fraction: float | None = None
    detail: str = ""


class Ready(Message, frozen=True, tag="ready"):
    """A model is loaded. name: as asked for. source: folder, file or hub id with revision. weights: "raw" or
    "folded" (LayerNorm). bos_token: text of the token that `bos` prepends, empty where the tokenizer has none.
    bos_auto: what `bos = "auto"` does for this model. place: what a program loads it from, a hub id or a
    folder. odd: which of its weights are no numbers, in a sentence; empty where all are."""

    name: str
    source: str
    shape: ModelShape
    device: str
    dtype: str
    weights: Literal["raw", "folded"]
    bos_token: str
    bos_auto: bool
    architecture: str
    seconds: float
    note: str = ""
    place: str = ""
    odd: str = ""


class Checked(Message, frozen=True, tag="checked"):
    """The self-check of a loaded model, done when nothing else was asked. differences: by what was compared ("logits",
    and logits with an edit at "pattern" and at "z") the largest one to Hugging Face's own forward with a plain hook, in
    logits; what could not be compared is not there. sentence: what does not hold, empty where all does."""

    model: str
    differences: dict[str, float] = {}
    tolerance: float = 0.0
    sentence: str = ""


class Failed(Message, frozen=True, tag="failed"):
    """Something asked for cannot be had: one sentence with what to do. generation for an Ask; question where
    it is only this one that has no answer: the others still come. mistake: what was written is at fault. lacks: what of
    the session the question needs and is not there."""

    task: Literal["load", "fetch", "ask", "save_vectors"]
    sentence: str
    generation: int = -1
    model: str = ""
    question: AnyQuestion | None = None
    mistake: bool = False
    lacks: str = ""


class EditProblem(msgspec.Struct, frozen=True):
    """What cannot be applied. index: in session.edits; -1 for the rest of the session. where: the edit's line, or what
    else of the session it is (a source, say). sentence: why not."""

    index: int
    where: str
    sentence: str


class Started(Message, frozen=True, tag="started"):
    """The run for this generation has begun. Problems name what of the session is not applied, and why. dictionaries:
    those of features that its lines and the questions name, as far as they can be had."""

    generation: int
    problems: tuple[EditProblem, ...] = ()
    dictionaries: tuple[About, ...] = ()


class Answered(Message, frozen=True, tag="answered", eq=False):
    """One answer. edited is None when no edit is on. ms: milliseconds of the model run and this answer.
    partial: more of the same will come (a generation)."""

    generation: int
    question: AnyQuestion
    clean: AnyAnswer | None
    edited: AnyAnswer | None
    ms: float
    partial: bool = False


class Progress(Message, frozen=True, tag="progress"):
    """How much of a long answer (a sweep) is computed, 0..1; once for each run."""

    generation: int
    question: AnyQuestion
    fraction: float


class Finished(Message, frozen=True, tag="finished"):
    """All answers of this generation are out. ran: which blocks ran, as "6..11 of 12"."""

    generation: int
    ms: float
    ran: str = ""


class ModelFound(msgspec.Struct, frozen=True):
    """A model that can be loaded with no network. kind: embedded, package, cache, folder."""

    name: str
    kind: str
    bytes: int
    detail: str = ""


class ModelsFound(Message, frozen=True, tag="models_found"):
    models: tuple[ModelFound, ...]


class Fetched(Message, frozen=True, tag="fetched"):
    model: str


class Sized(Message, frozen=True, tag="sized"):
    """How much the download of a model would be, in bytes; 0 where the hub does not say."""

    model: str
    bytes: int


class Saved(Message, frozen=True, tag="saved"):
    path: str
    names: tuple[str, ...]


class Attached(Message, frozen=True, tag="attached"):
    """The first frame from a process that can outlive its app. asked: the newest Ask of the app before, which may have
    been answered, or not yet; None where it was stopped or there is none. trouble: why the process will end with its
    app nevertheless; empty where it can stay."""

    pid: int
    asked: Ask | None = None
    trouble: str = ""


class Hello(Message, frozen=True, tag="hello"):
    """The first frame from a process: which mechtui it is of. One that was replaced while the app ran is another."""

    version: str


class Heartbeat(Message, frozen=True, tag="heartbeat"):
    """Every second, also while the model runs. rss and traces in bytes."""

    rss: int
    traces: int
    busy: bool


Request = Load | Ask | Models | Fetch | Cancel | SaveVectors | Attach | Quit
Reply = (
    Stage
    | Ready
    | Checked
    | Failed
    | Started
    | Answered
    | Progress
    | Finished
    | ModelsFound
    | Fetched
    | Sized
    | Saved
    | Attached
    | Hello
    | Heartbeat
)
