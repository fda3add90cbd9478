"""A session opened on a model: its tokens, its runs, what cannot be applied and why, its answers."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from mechtui.engine.actions import Actions, Ids
from mechtui.engine.engine import Engine, Trace, ignore
from mechtui.engine.needs import Need
from mechtui.engine.resolve import EditError, Prompt, Surroundings, resolve
from mechtui.engine.vectors import vector_value
from mechtui.link.messages import EditProblem
from mechtui.session.alignment import align
from mechtui.session.document import Edit, Session, Token, surrogate
from mechtui.session.lines import LineError, format_edit
from mechtui.views import Answer, Question
from mechtui.worker.model import TextError

# (clean, edited or None without an edit that is on, whether more of the same question follows)
Answers = Iterator[tuple[Answer | None, Answer | None, bool]]


SAME_TARGET = "is the answer's own token, so that their difference is always 0: name another token"


class SessionError(ValueError):
    """Nothing of this session can be run: one sentence that says why and what to do."""


class Run:
    """One run, as the views' compute modules see it. Tensors have no batch axis."""

    def __init__(self, engine: Engine, trace: Trace, cancelled: Callable[[], bool]) -> None:
        self.engine = engine
        self.trace = trace
        self.cancelled = cancelled

    @property
    def ids(self) -> Ids:
        return self.trace.ids

    def take(self, need: Need) -> Tensor:
        return self.engine.take(self.trace, need, self.cancelled)

    def activation(self, hook: str) -> Tensor:
        """All of one activation: [pos, ...], or [head, query, key] for patterns and scores."""
        return self.take(Need(hook))

    def logits(self, positions: slice | list[int] = slice(None)) -> Tensor:
        """[pos, d_vocab] float32."""
        return self.engine.logits(self.trace, positions)

    def best(self, position: int, count: int) -> list[int]:
        """The ids of the `count` largest logits at a position, the largest first; a small vocabulary has fewer."""
        known = self.trace.best.get(position, [])
        if len(known) < count:
            logits = self.logits([position])[0]
            known = self.trace.best[position] = logits.topk(min(count, len(logits))).indices.tolist()
        return known[:count]

    def remembered(self, kind: type[Question], key: object, answer: Callable[[], Answer]) -> Answer:
        """The run's last answer of a kind, if the key is the same, else a new one. key: all besides the run that
        decides the answer. While edits change, the clean run's answers stay."""
        last = self.trace.answers.get(kind)
        if last is None or last[0] != key:
            self.trace.answers[kind] = last = (key, answer())
        return last[1]

    def residual_norms(self) -> list[Tensor]:
        """Per site (L0.pre ... L{n-1}.pre, L{n-1}.post) the L2 norms [pos]."""
        edited = {action.hook for action in self.trace.actions}
        norms = []
        for layer in range(self.engine.n_layers + 1):
            hook = f"blocks.{layer}.hook_resid_pre"
            norms.append(self.take(Need(hook, "norm")) if hook in edited else self.engine.norm(self.trace, layer))
        return norms


class Opened:
    """A session on a model. Runs happen when something asks for them."""

    def __init__(
        self, engine: Engine, session: Session, cancelled: Callable[[], bool], questions: Sequence[Question]
    ) -> None:
        self.engine = engine
        self.model = engine.model
        self.session = session
        self.cancelled = cancelled
        self.progress: Callable[[float], None] = ignore  # told of the question that is being answered
        self._problems: list[EditProblem] = []
        self.bos = self.model.prepends(session.bos)
        self.ids = self._encoded(session.prompt, "the prompt")
        self.source_ids = self._optional(session.source, "source")
        self.references = tuple(ids for text in session.references if (ids := self._optional(text, "references")))
        self.alignment = self._aligned()
        self.tokens: tuple[Token, ...] = tuple(self.model.token(id) for id in self.ids)
        self.targets = self._targets()
        self._resolved = [self._resolve(number, edit) for number, edit in enumerate(session.edits)]
        self._needs = [need for question in questions for need in self._compute(question).needs(question, self)]

    # The text

    def _encoded(self, text: str, what: str) -> Ids:
        at = surrogate(text)
        if at is not None:
            raise SessionError(f"{what} holds a lone surrogate (U+{ord(text[at]):04X}) at character {at}: remove it")
        try:
            ids = tuple(self.model.encode(text, self.session.bos))
        except TextError as error:
            raise SessionError(f"{what} {error}") from error
        if not ids:
            raise SessionError(f"{what} is empty: type some text, or prepend {self.model.ready.bos_token or 'a token'}")
        most = self.model.shape.n_ctx
        if len(ids) > most:
            more = len(ids) - most
            name = self.model.ready.name
            raise SessionError(f"{what} has {len(ids):,} tokens and {name} reads {most:,}: remove {more:,} of them")
        return ids

    def _optional(self, text: str, where: str) -> Ids:
        if not text:
            return ()
        try:
            return self._encoded(text, f"the {where}")
        except SessionError as error:
            self._problems.append(EditProblem(-1, where, str(error)))
            return ()

    def _aligned(self) -> tuple[int, ...]:
        if not self.source_ids:
            return ()
        try:
            return align(self.ids, self.source_ids, self.session.align)
        except LineError as error:
            self._problems.append(EditProblem(-1, "align", f"align: {error}"))
            return align(self.ids, self.source_ids, "auto")

    def _targets(self) -> tuple[int | None, int | None]:
        found: list[int | None] = []
        for where, text in (("answer", self.session.answer), ("foil", self.session.foil)):
            id = None
            if text:
                try:
                    id = self.model.single(text)
                except ValueError as error:
                    self._problems.append(EditProblem(-1, where, f"{where} {error}"))
            found.append(id)
        answer, foil = found
        if answer is not None and answer == foil:
            self._problems.append(EditProblem(-1, "foil", f"the foil {SAME_TARGET}"))
            foil = None
        return answer, foil

    @property
    def auto(self) -> bool:
        """Whether the session names no target, so that the clean run's two best tokens stand in."""
        return not self.session.answer and not self.session.foil

    def targets_at(self, position: int) -> tuple[int | None, int | None]:
        """Ids of answer and foil at a position."""
        if not self.auto:
            return self.targets
        answer, foil = self.clean.best(position, 2)
        return answer, foil

    def position(self, position: int) -> int:
        """A position from either end as an index from 0. Raises SessionError."""
        index = position + len(self.ids) if position < 0 else position
        if not 0 <= index < len(self.ids):
            raise SessionError(f"there is no position {position}: the prompt has {len(self.ids)} tokens")
        return index

    # The edits

    def _resolve(self, number: int, edit: Edit) -> Actions | None:
        try:
            return self.actions_of(edit, self.ids, True)
        except EditError as error:
            self._problems.append(EditProblem(number, format_edit(edit), str(error)))
            return None

    def actions_of(self, edit: Edit, ids: Ids, everywhere: bool) -> Actions:
        """An edit's actions on the prompt, or on a longer text that begins with it. Raises EditError."""
        texts = tuple(self.model.token(id).text for id in ids)
        prompt = Prompt(ids, texts, len(self.ids), everywhere)
        around = Surroundings(
            self.session, self.model.ready, self.bos, self.source_ids, self.alignment, self.references
        )
        actions = resolve(edit, prompt, around)
        for action in actions:
            if action.vector is not None:
                vector_value(self.engine, action.vector, self.cancelled)
        return actions

    def actions(self, number: int) -> Actions | None:
        """The actions of session.edits[number], on or off; None when it cannot be applied."""
        return self._resolved[number]

    @property
    def applied(self) -> list[Edit]:
        """The edits that are on and can be applied."""
        pairs = zip(self.session.edits, self._resolved, strict=True)
        return [edit for edit, actions in pairs if edit.on and actions is not None]

    @property
    def problems(self) -> tuple[EditProblem, ...]:
        return tuple(self._problems)

    # The runs

    @cached_property
    def clean(self) -> Run:
        return self._run((), "the clean run", "load the model as float32")

    @cached_property
    def edited(self) -> Run | None:
        """None without an edit that is on."""
        actions = tuple(
            action
            for edit, resolved in zip(self.session.edits, self._resolved, strict=True)
            if edit.on
            for action in resolved or ()
        )
        if not actions:
            return None
        _ = self.clean  # nearly every edited run resumes from it
        return self._run(actions, "the edited run", "make the edits smaller")

    def _run(self, actions: Actions, which: str, hint: str) -> Run:
        trace = self.engine.run(self.ids, actions, self._needs, self.cancelled)
        layer = self.engine.overflows(trace)
        if layer is not None:
            problem = f"{which} ends in numbers that are not finite from layer {layer} on"
            raise SessionError(f"{problem}, so it says nothing: {hint}")
        return Run(self.engine, trace, self.cancelled)

    def run_ahead(self) -> None:
        """What the next edit may take from: the source's run. Raises Cancelled."""
        if self.source_ids:
            self.engine.run_ahead(self.source_ids, self.clean.trace, self.cancelled)

    @property
    def ran(self) -> str:
        """Which blocks and positions the last run computed, for the status line."""
        run = self.edited or self.clean
        layer, position = run.trace.start
        count = self.engine.n_layers
        if layer >= count:
            return "nothing new"
        blocks = f"blocks {layer}..{count - 1}"
        return blocks + (f" at {position}..{len(self.ids) - 1}" if position else "")

    def answer(self, question: Question) -> Answers:
        """The answers to one question: one pair, or several where they stream. Raises SessionError, Cancelled."""
        try:
            yield from self._compute(question).answers(question, self)
        except EditError as error:
            raise SessionError(f"{question.line()}: {error}") from error

    @staticmethod
    def _compute(question: Question) -> Any:
        return importlib.import_module(f"mechtui.views.{question.__struct_config__.tag}.compute")


@torch.inference_mode()
def together(tensors: Sequence[Tensor]) -> Tensor:
    """One of each layer, stacked, as float32 in this process's memory: in one transfer, however many there are."""
    first = tensors[0].device
    return torch.stack([each.to(first) for each in tensors]).float().cpu()


def each(opened: Opened, answer: Callable[[Run], Answer], question: Question | None = None) -> Answers:
    """The same computation on the clean and, with edits, on the edited run.

    question: given where nothing but it and the run decides the answer. It is then kept with the run.
    """

    def known(run: Run) -> Answer:
        if question is None:
            return answer(run)
        return run.remembered(type(question), question, lambda: answer(run))

    clean = known(opened.clean)
    yield clean, known(opened.edited) if opened.edited is not None else None, False
