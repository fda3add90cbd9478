"""A tiny model answers while memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mechtui.engine.api import Engine
from mechtui.engine.model import Model
from mechtui.link.messages import Answered, Ask, Failed, Finished, Reply
from mechtui.session.document import Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.views import Question, parse_question
from mechtui.worker.main import Worker
from tests.faults.injector import Fault
from tests.lines import PROMPT, SOURCE

# As torch says it, of a CPU and of a GPU, and as Python does.
ERRORS: dict[str, Callable[[], BaseException]] = {
    "CPU": lambda: RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 4194304 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "GPU": lambda: torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.77 GiB of which 1.50 GiB is "
        "free. Process 4242 has 14.27 GiB memory in use."
    ),
    "Python": MemoryError,
}
# A sweep, a continuation, what goes back through the blocks, what is read of the weights.
ASKED = (
    "next_tokens", "heads", "attention L1H1", "residual", "lens", "effects", "attribution", "neurons L1",
    "sweep zero L*H*", "generate", "scores", "composition K",
)  # fmt: skip


class Allocations(TorchDispatchMode):
    """Within, an operation of torch's can fail as where there is no memory for what it makes."""

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self._fault = fault

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._fault.check(str(func))
        return func(*args, **(kwargs or {}))


class Wire:
    """Takes in what the model process says."""

    def __init__(self) -> None:
        self.heard: list[Reply] = []

    def send(self, reply: Reply, _number: int = 0) -> None:
        self.heard.append(reply)


class Answering:
    """A model process in this one."""

    def __init__(self, model: Model, lines: Sequence[str] = ASKED) -> None:
        self.wire = Wire()
        self.worker = Worker(self.wire)  # type: ignore[arg-type]
        self.worker.engine = Engine(model)
        self.questions = tuple(map(parse_question, lines))
        self._generation = 0

    def ask(self, *edits: str) -> list[Reply]:
        """What it says to the questions."""
        self._generation += 1
        session = Session(
            prompt=PROMPT, source=SOURCE, answer=" Mary", foil=" John", edits=tuple(map(parse_edit, edits))
        )
        self.worker.inbox.put(Ask(self._generation, session, self.questions))
        found = self.worker.inbox.take(True)
        assert found is not None
        ask, number = found
        assert isinstance(ask, Ask)
        self.wire.heard.clear()
        self.worker.answer(ask, number)
        return [*self.wire.heard]


def whole(replies: Sequence[Reply]) -> dict[Question, Answered]:
    """The last answer to each question."""
    return {reply.question: reply for reply in replies if isinstance(reply, Answered)}


def check_said(replies: Sequence[Reply]) -> None:
    """It ends, and whatever is not answered is refused in a sentence that says why: the same one for all."""
    last = replies[-1]
    assert isinstance(last, Finished) or (isinstance(last, Failed) and last.question is None), last
    failed = {reply.sentence for reply in replies if isinstance(reply, Failed)}
    for sentence in failed:
        assert "emory" in sentence, sentence
        assert "by a mistake" not in sentence, sentence
        assert "\n" not in sentence
        assert "enforce fail" not in sentence, sentence


def differing(one: Any, other: Any) -> Iterator[str]:
    """Where two answers are not the same but for rounding."""
    if isinstance(one, msgspec.Struct):
        for name in one.__struct_fields__:
            if name != "ms":
                yield from (f"{name}.{each}" for each in differing(getattr(one, name), getattr(other, name)))
    elif isinstance(one, (tuple, list)) and not all(isinstance(each, (int, float)) for each in one):
        if len(one) != len(other):
            yield f"{len(one)} and {len(other)} of them"
        for number, (mine, its) in enumerate(zip(one, other, strict=False)):
            yield from (f"{number}.{each}" for each in differing(mine, its))
    elif isinstance(one, (float, tuple, list, np.ndarray)):
        mine, its = np.asarray(one), np.asarray(other)
        if mine.dtype == object or mine.dtype.kind in "US":
            if list(mine.flat) != list(its.flat):
                yield f"{one} and {other}"
        elif mine.shape != its.shape or not np.allclose(mine, its, rtol=1e-3, atol=1e-4, equal_nan=True):
            yield f"{one} and {other}"
    elif one != other:
        yield f"{one} and {other}"


def runs(model: Model, lines: Sequence[str] = ASKED) -> Callable[[Fault], None]:
    """A run: the questions are asked while memory runs out, with an edit and without, and then once more."""
    wanted = [whole(Answering(model, lines).ask(*edits)) for edits in ((), ("zero L0H1",))]

    def run(fault: Fault) -> None:
        it = Answering(model, lines)
        with Allocations(fault):
            check_said(it.ask())
            check_said(it.ask("zero L0H1"))
        fault.heal()
        for edits, known in zip(((), ("zero L0H1",)), wanted, strict=True):
            replies = it.ask(*edits)
            assert not [reply for reply in replies if isinstance(reply, Failed)]
            found = whole(replies)
            assert found.keys() == known.keys()
            for question, answered in found.items():
                for side in ("clean", "edited"):
                    other = list(differing(getattr(answered, side), getattr(known[question], side)))
                    assert not other, f"{question.line()}, {side}: {other[:3]}"

    return run
