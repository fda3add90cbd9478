"""The door to the engine: all that a view's compute needs, and the only module of the engine that it imports.

Engine       a model, on which sessions are opened
OpenSession  a session on a model: its tokens, its runs, its hook edits, the model's weights
Run          one forward pass: activations, residual stream, logits; variants of it; the run after one more token
Need         what a view wants kept of a run while it passes
each         the same computation on the clean and on the edited run
together     tensors of all layers in one transfer
"""

from __future__ import annotations

import importlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from copy import copy
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from mechtui.engine import circuits, feature_sweeps, reading, translators, vector_files, weights
from mechtui.engine.apply import seen_in
from mechtui.engine.cards import CardIndex, HeadCards
from mechtui.engine.case_runs import CaseRuns, Differences, Kept
from mechtui.engine.circuit_runs import CircuitRuns, Component
from mechtui.engine.circuits import Circuit as HeadCircuit
from mechtui.engine.contexts import Contexts, Scan
from mechtui.engine.contributions import Contributions, Reading
from mechtui.engine.dictionaries import Active, Dictionary, DictionaryError
from mechtui.engine.each_case import CLEAN, EDITED, EachCase, Memory, Numbers
from mechtui.engine.errors import Cancelled, ModelError, SessionError, TextError, Unread
from mechtui.engine.feature_sweeps import SweptFeatures
from mechtui.engine.gradients import Metric, NoGradientError, Towards
from mechtui.engine.lengths import direction, length, typical
from mechtui.engine.linear import LinearModel, LinearRun, linear_run
from mechtui.engine.model import Model
from mechtui.engine.needs import Need
from mechtui.engine.neurons import Mlp, Opening, of_embeddings
from mechtui.engine.overlap import in_order
from mechtui.engine.path_check import PathCheck
from mechtui.engine.readout import Norm, Readout
from mechtui.engine.repeats import lengths_for
from mechtui.engine.run import Run
from mechtui.engine.runner import Runner, never
from mechtui.engine.texts import Texts
from mechtui.engine.translators import Translator
from mechtui.engine.variants import Cost, Look
from mechtui.engine.vector_files import steering
from mechtui.engine.vectors import Separation
from mechtui.link.messages import EditProblem, Ready
from mechtui.session.cases import END, Case
from mechtui.session.dictionaries import About
from mechtui.session.document import Edit, ModelShape, Role, Sae, Session, Site, Token, Vector
from mechtui.session.grammar.edits import format_edit
from mechtui.session.hook_edits import EditError, HookEdit, HookEdits, Ids, Sender, Steering
from mechtui.session.prompt import Prompt, Surroundings
from mechtui.session.resolve import check_elsewhere, check_site, resolve
from mechtui.session.roles import roles_of
from mechtui.session.sites import head_count
from mechtui.views import Answer, Question, spec_of

__all__ = [
    "CLEAN",
    "EDITED",
    "Active",
    "Answers",
    "Cancelled",
    "CaseRuns",
    "CircuitRuns",
    "Component",
    "Contributions",
    "Cost",
    "Dictionary",
    "DictionaryError",
    "Differences",
    "EachCase",
    "EditError",
    "Engine",
    "HeadCards",
    "HeadCircuit",
    "HookEdits",
    "Ids",
    "Look",
    "Metric",
    "Need",
    "NoGradientError",
    "Norm",
    "Numbers",
    "OpenSession",
    "Readout",
    "Run",
    "Scan",
    "SessionError",
    "SweptFeatures",
    "Towards",
    "Translator",
    "Unread",
    "direction",
    "each",
    "in_order",
    "length",
    "seen_in",
    "steering",
    "together",
    "typical",
]

# (clean, edited or None without an edit that is on, whether more of the same question follows)
Answers = Iterator[tuple[Answer | None, Answer | None, bool]]


Made = TypeVar("Made")
# What was made once for a key and stays.
MOST_MADE = 8

# A model's name, and whether it is no longer wanted -> the model.
Load = Callable[[str, Callable[[], bool]], Model]


def ignore(fraction: float) -> None:
    """Nobody wants to know how much is done."""


class OpenSession:
    """A session on a model. Runs happen when something asks for them.

    session: the document. ids, tokens: the prompt's. source_ids: the source's, empty without one. alignment: of each
    position of the prompt its partner in the source, -1 without one; empty without a source. bos: whether texts begin
    with BOS. targets: ids of answer and foil, as far as the session names them. progress: is told the share (0..1)
    that is done of the question that is being answered. reads: whether texts of files may be read now from which edits
    take their vectors; where not, Unread is raised by what needs such an edit. case: the one whose texts these are,
    which names positions.
    """

    def __init__(
        self,
        engine: Engine,
        session: Session,
        cancelled: Callable[[], bool] = never,
        questions: Sequence[Question] = (),
        progress: Callable[[float], None] = ignore,
        case: Case | None = None,
    ) -> None:
        """questions: what they need is kept as the runs pass it; where all of them are answered without the prompt, it
        may be one that cannot be read. progress: is told how much is read of the texts of
        vectors that edits use. Raises SessionError, Cancelled."""
        self._engine, self._runner = engine, engine.runner
        self.model = engine.model
        self.session = session
        self.case = case
        self.cancelled = cancelled
        self.progress: Callable[[float], None] = progress
        self.reads = True
        alone = bool(questions) and all(spec_of(question).alone for question in questions)
        texts = Texts(self.model, session, needed=not alone)
        self.bos = texts.bos
        self.ids = texts.ids
        self.source_ids = texts.source_ids
        self.references = texts.references
        self.alignment = texts.alignment
        self.targets: tuple[int | None, int | None] = texts.targets
        self.tokens: tuple[Token, ...] = tuple(self.model.token(id) for id in self.ids)
        self._problems = texts.problems
        self._prompt: Prompt | None = None  # that of the latest edit: a sweep has thousands of edits for one
        self._late: list[int] = []  # edits by number whose vectors' files are to be read before they can act
        self._resolved = [self._resolve(number, edit) for number, edit in enumerate(session.edits)]
        self._needs = [need for question in questions for need in self._compute(question).needs(question, self)]
        if session.linear:
            self._needs += self._engine.linear.patterns()

    def open(self, session: Session, questions: Sequence[Question] = ()) -> OpenSession:
        """Another session on the model that it names: this one, or one that is loaded beside it and stays. Raises
        SessionError, Cancelled."""
        here = session.model in ("", self.session.model, self.ready.name)
        engine = self._engine if here else self._engine.beside(session.model, self.cancelled)
        return OpenSession(engine, session, self.cancelled, questions)

    def over_cases(self) -> CaseRuns:
        """The session's cases, and its edits over them. Raises SessionError, Cancelled."""
        if self.session.linear:
            raise SessionError("linear mode is that of one prompt, and cases are many: L turns it off")
        self._read_all()
        engine = self._engine
        return CaseRuns(
            self.session, engine.cases, lambda case: OpenSession(engine, case, self.cancelled), self.cancelled
        )

    def over_circuit(self, kept: Sequence[Component], mlps: bool) -> CircuitRuns:
        """A circuit over the session's cases, see `CircuitRuns`. Raises SessionError, Cancelled."""
        return CircuitRuns(self.over_cases(), self._engine.cases, self.shape, kept, mlps)

    def over_each(
        self, question: Question, numbers: Callable[[OpenSession, Run], Numbers], session: Session | None = None
    ) -> EachCase[OpenSession]:
        """A question's numbers over the session's cases, see `EachCase`. numbers: what one run of a case says. session:
        this one, if its edits were others. Raises SessionError."""
        if self.session.linear:
            raise SessionError("linear mode is that of one prompt, and cases are many: L turns it off")
        self._read_all()
        aside = self._engine.aside

        def open(session: Session, case: Case, progress: Callable[[float], None]) -> OpenSession:
            return OpenSession(aside, session, self.cancelled, (question,), progress, case)

        return EachCase(
            session or self.session,
            question,
            self._engine.cases,
            self._engine.said,
            open,
            numbers,
            self.cancelled,
            self.progress,
        )

    def roles(self) -> tuple[Role, ...]:
        """The positions that the session's cases name, as they stand in the prompts. Raises SessionError."""
        return roles_of(self._engine.cases.cases(self.session))

    def needs_of(self, question: Question) -> list[Need]:
        """What another view's question needs of a run."""
        found: list[Need] = self._compute(question).needs(question, self)
        return found

    # The model

    @property
    def shape(self) -> ModelShape:
        return self.model.shape

    @property
    def ready(self) -> Ready:
        """What the UI is told of the model: its name, dtype, architecture."""
        return self.model.ready

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    @property
    def readout(self) -> Readout:
        """From the residual stream to logits: final norm, unembedding, a cap behind it."""
        return self._runner.forward.readout

    def translator(self, file: str) -> Translator:
        """The lens that a safetensors file holds; the last one asked for is kept. Raises SessionError."""
        return self._engine.translator(file)

    @property
    def windows(self) -> bool:
        """Whether some layer's queries see only the latest keys, not all at or before them."""
        return self._runner.forward.windows

    def W_O(self, layer: int) -> Tensor:
        """[head, d_head, d_model]."""
        return weights.W_O(self.model.bridge, layer)

    def W_out(self, layer: int) -> Tensor:
        """[d_mlp, d_model]: row n is what neuron n writes to the residual stream."""
        return weights.W_out(self.model.bridge, layer)

    def mlp(self, layer: int) -> Mlp:
        """A layer's MLP as neurons. Raises SessionError."""
        return Mlp(self.model.bridge, layer, self.ready.name)

    def of_embeddings(self, openings: Sequence[Opening]) -> Tensor:
        """[neuron, d_vocab]: what opens neurons where a token's embedding, normed, is all that they read."""
        return of_embeddings(self.model.bridge, openings)

    def W_U(self) -> Tensor:
        """[d_model, d_vocab]."""
        return weights.W_U(self.model.bridge)

    def W_E(self) -> Tensor:
        """[d_vocab, d_model]."""
        return weights.W_E(self.model.bridge)

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What `make` gives: the same for the same key on this model, whatever the prompt. The last few stay."""
        return self._engine.once(key, make)

    def b_U(self, id: int) -> float:
        """The logit that a token has whatever the residual is, before a cap or a factor."""
        return weights.unembedding_bias(self.model.bridge, id)

    def token(self, id: int) -> Token:
        return self.model.token(id)

    def single(self, text: str, what: str) -> int:
        """The id of a text that is one token. what: it is to be. Raises SessionError, which names its tokens."""
        try:
            return self.model.single(text, what)
        except ValueError as error:
            raise SessionError(str(error)) from error

    @property
    def eos_id(self) -> int | None:
        """The token that ends a text; None where the tokenizer names none."""
        return self.model.tokenizer.eos_token_id

    def head_cards(self) -> Iterator[tuple[HeadCards, bool]]:
        """What is measured of each head once per model, and whether better follows: some while it is measured. Raises
        SessionError where the model reads too few tokens, and Cancelled."""
        if not lengths_for(self.shape.n_ctx):
            raise SessionError(f"{self.ready.name} reads {self.shape.n_ctx} tokens: too few to say random ones twice")
        return self._engine.cards.cards(self.cancelled, self.progress)

    @property
    def repeat(self) -> str:
        """A text of random words said twice; empty where the tokenizer has no such words."""
        return self._engine.cards.example

    def contexts(self, file: str, window: int, sae: str = "") -> Scan:
        """What is known of where neurons fire most in a text file, or without one in the model's own samples; with the
        name of a dictionary, its features. window: tokens that are read at once, 0: as many as usual. Raises
        SessionError, Cancelled."""
        known = self._engine.contexts
        if not sae:
            return known.of_neurons(file, window)
        return known.of_features(self.dictionary(sae), self.bos, file, window, self.cancelled)

    def read_contexts(self, reading: Scan) -> Iterator[Scan]:
        """Read on, batch by batch; what was read stays. Raises SessionError, Cancelled."""
        return self._engine.contexts.read(reading, self.cancelled, self.progress)

    def decoded(self, ids: Ids) -> str:
        """The text of these tokens."""
        text: str = self.model.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)
        return text

    def composition(self, kind: circuits.Kind) -> tuple[np.ndarray, float, float]:
        """How each head reads by `kind` what each earlier one writes, [later head, earlier head], with the mean and the
        standard deviation of random pairs of that shape, see `mechtui.engine.circuits`. It is computed once per model.
        Raises SessionError, Cancelled."""
        return self._engine.composition(kind, self.cancelled, self.progress)

    def contributions(self, run: Run, kind: circuits.Kind, query: int, keys: Sequence[int]) -> Contributions:
        """What of each head's query, key or value each earlier head wrote, on the prompt of a run, see
        `mechtui.engine.contributions`. keys: where each head is looked at, heads counted through the layers. Raises
        SessionError and EditError where that cannot be told, and Cancelled."""
        engine = self._engine
        return Reading(self._runner, engine.path_check, run, kind, query, keys, self.cancelled).contributions()

    def circuit(self, layer: int, head: int) -> HeadCircuit:
        """A head over the whole vocabulary; the last one asked for is kept. Raises SessionError."""
        return self._engine.circuit(layer, head)

    def wrote(self, run: Run, sender: Sender, position: int) -> Tensor:
        """[head, d_model] float32: what the heads of a sender write to the stream at a position of a run; [1, d_model]
        of a sender without heads. Raises EditError where that cannot be told."""
        self._engine.path_check.check_sender(sender, self.cancelled)
        gave = run.take(Need(sender.hook, "at", position))
        heads = (None,) if sender.heads is None else sender.heads
        with torch.inference_mode():
            return torch.stack([self._runner.forward.weights.written(sender, head, gave) for head in heads])

    def check_site(self, site: Site) -> None:
        """Raises EditError, which names the model and what it lacks, where it has no such site."""
        check_site(site, self.ready)

    def head_count(self, site: Site) -> int:
        """How many heads there are to name at a site: k and v have one for each key-value group."""
        return head_count(site, self.shape)

    def vector(self, vector: Vector | Steering) -> Tensor:
        """[d_model] float32: a steering vector's numbers, or those that a hook edit adds. Raises EditError where it
        cannot be made, and Cancelled while its texts are read."""
        made = self.steering(vector) if isinstance(vector, Vector) else vector
        return self._runner.vectors.value(made, self.cancelled, self.progress)

    @property
    def saes(self) -> tuple[Sae, ...]:
        """The dictionaries of features that lines may name."""
        return self._runner.dictionaries.saes(self.session)

    def dictionary(self, name: str) -> Dictionary:
        """The dictionary of features that the session calls so. Raises SessionError where there is none, it cannot be
        read, or it does not fit this model and this text."""
        return self._runner.dictionaries.named(name, self.session, self.bos)

    def told_of(self, names: Iterable[str]) -> tuple[About, ...]:
        """Of the dictionaries that the session calls so (empty: its first), those that can be had."""
        found: dict[str, About] = {}
        for name in names:
            with suppress(SessionError):
                about = self.dictionary(name or next((sae.name for sae in self.saes), "")).about
                found[about.name] = about
        return tuple(found.values())

    def labels(self, name: str) -> dict[int, str]:
        """The names of its features, as far as a file has some. Raises SessionError."""
        return self._runner.dictionaries.labels(self._runner.dictionaries.line(name, self.session))

    def swept(self, run: Run, edit: HookEdit) -> SweptFeatures:
        """What an edit of features would change in a run, feature by feature; in linear mode, as each edit does, in the
        clean run. Raises SessionError, Cancelled."""
        of = run.scales
        return of.remembered(SweptFeatures, edit, lambda: feature_sweeps.swept(of, edit))

    def feature_estimates(
        self, run: Run, of: SweptFeatures, metric: Metric, towards: Towards | None = None
    ) -> np.ndarray:
        """[feature] float32: about by how much the metric changes by the edit of each feature alone. Raises
        NoGradientError, Cancelled."""
        return feature_sweeps.estimates(run, of, metric, towards)

    def separation(self, vector: Vector) -> Separation | None:
        """How well a contrast that was made tells pairs that are held out, see `mechtui.engine.vectors`; None for
        other vectors, and where there are few pairs."""
        return self._runner.vectors.separation(self.steering(vector))

    def steering(self, vector: Vector) -> Steering:
        """A steering vector and all that decides its numbers. Raises EditError for a feature of a dictionary that
        cannot be had."""
        return self._runner.dictionaries.steering(vector, self.session, self.bos)

    # The text

    def text_ids(self, text: str, what: str) -> tuple[Ids, Ids]:
        """What every text begins with (BOS or nothing), and another text's own tokens, however many. what: its name.
        Raises SessionError."""
        try:
            ids = tuple(self.model.encode(text, "no"))
        except TextError as error:
            raise SessionError(f"{what} {error}") from error
        bos = self.model.bos_id
        return (bos,) if self.bos and bos is not None else (), ids

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

    def _resolve(self, number: int, edit: Edit) -> HookEdits | None:
        try:
            edits = self._hook_edits_of(edit, self.ids, True)
            if any(each.vector is not None and self._runner.vectors.unread(each.vector) for each in edits):
                self._late.append(number)
            else:
                self._make_vectors(edits)
        except EditError as error:
            self._refuse(number, error)
            return None
        return edits

    def _refuse(self, number: int, error: EditError) -> None:
        self._problems.append(EditProblem(number, format_edit(self.session.edits[number]), str(error)))

    def _make_vectors(self, edits: HookEdits) -> None:
        """Raises EditError, and Cancelled while texts are read."""
        for each in edits:
            if each.vector is not None:
                self.vector(each.vector)

    def _read(self, numbers: Sequence[int]) -> list[HookEdits | None]:
        """These edits' hook edits, once all files that they take vectors from are read. Raises Unread, Cancelled."""
        late = [number for number in self._late if number in numbers]
        if late and not self.reads:
            raise Unread
        for number in late:
            try:
                self._make_vectors(self._resolved[number] or ())
            except EditError as error:
                self._refuse(number, error)
                self._resolved[number] = None
            self._late.remove(number)
        return [self._resolved[number] for number in numbers]

    def _read_all(self) -> None:
        self._read(range(len(self.session.edits)))

    @property
    def _on(self) -> list[int]:
        return [number for number, edit in enumerate(self.session.edits) if edit.on]

    @property
    def waits(self) -> bool:
        """Whether there is no edited run yet, as long as no file may be read from which an edit takes its vector."""
        return not self.reads and any(number in self._late for number in self._on)

    def hook_edits_of(self, edit: Edit, ids: Ids, everywhere: bool) -> HookEdits:
        """An edit's hook edits on the prompt, or on a longer text that begins with it. everywhere: whether an edit at
        all positions acts on what comes after the prompt, too. Raises EditError, and Cancelled while texts are read."""
        edits = self._hook_edits_of(edit, ids, everywhere)
        self._make_vectors(edits)
        return edits

    def _hook_edits_of(self, edit: Edit, ids: Ids, everywhere: bool) -> HookEdits:
        if self._prompt is None or (self._prompt.ids, self._prompt.everywhere) != (ids, everywhere):
            texts = tuple(self.model.token(id).text for id in ids)
            self._prompt = Prompt(ids, texts, len(self.ids), everywhere, None if self.case is None else self._role)
        if (vector := self.session.vector(edit.vector)) is not None:
            self.steering(vector)
        edits = resolve(edit, self._prompt, self._surroundings)
        for each in edits:
            self._engine.path_check.check(each, self.cancelled)
        return edits

    def _role(self, name: str) -> int:
        """The position of what the case calls so. Raises EditError."""
        if name == END:
            return len(self.ids) - 1
        assert self.case is not None
        at = dict(self.case.roles).get(name)
        if at is None:
            raise EditError(f"it calls no position {name}")
        prompt = self.session.prompt
        ids, before = (tuple(self.model.encode(text, "no")) for text in (prompt, prompt[:at]))
        if not before or ids[: len(before)] != before:
            raise EditError(f"no token ends where its {name} does")
        return len(self.ids) - len(ids) + len(before) - 1

    @cached_property
    def _surroundings(self) -> Surroundings:
        vectors: list[Steering] = []
        for vector in self.session.vectors:
            try:
                vectors.append(self.steering(vector))
            except EditError:  # it is said where the vector is used
                vectors.append(steering(vector, self.bos))
        # Nothing here refers to this session's runs: they are free as soon as it is.
        decoder = partial(self._runner.dictionaries.decoder, session=self.session, bos=self.bos)
        return Surroundings(self.model.ready, tuple(vectors), self.source_ids, self.alignment, self.references, decoder)

    def hook_edits_elsewhere(self, edit: Edit, ids: Ids) -> HookEdits:
        """An edit's hook edits on another text, as if that were the prompt. Raises EditError where it names positions
        of the prompt, or takes from those of the source."""
        check_elsewhere(edit)
        return resolve(edit, Prompt(ids, tuple(self.model.token(id).text for id in ids), len(ids)), self._surroundings)

    def possible_hook_edits(self, edit: Edit) -> HookEdits | None:
        """An edit's hook edits on the prompt; None where it cannot be applied."""
        try:
            return self.hook_edits_of(edit, self.ids, True)
        except EditError:
            return None

    def hook_edits(self, number: int) -> HookEdits | None:
        """The hook edits of session.edits[number], on or off; None when it cannot be applied. Raises Unread."""
        return self._read([number])[0]

    @property
    def applied(self) -> list[Edit]:
        """The edits that are on and can be applied. Raises Unread."""
        pairs = zip(self._on, self._read(self._on), strict=True)
        return [self.session.edits[number] for number, resolved in pairs if resolved is not None]

    @property
    def problems(self) -> tuple[EditProblem, ...]:
        """With those of edits whose vectors are of files, which are read for it. Raises Unread."""
        self._read_all()
        return self.known_problems

    @property
    def known_problems(self) -> tuple[EditProblem, ...]:
        """Those that are known before files are read from which edits take vectors."""
        return tuple(self._problems)

    # The runs

    @cached_property
    def clean(self) -> Run:
        return self._run((), "the clean run", "load the model as float32")

    @cached_property
    def edited(self) -> Run | None:
        """None without an edit that is on. Raises Unread."""
        edits = tuple(each for resolved in self._read(self._on) for each in resolved or ())
        if not edits:
            return None
        _ = self.clean  # nearly every edited run resumes from it
        return self._run(edits, "the edited run", "make the edits smaller")

    def _run(self, edits: HookEdits, which: str, hint: str) -> Run:
        run = self.run(self.ids, edits, self._needs)
        layer = None if self.model.ready.odd else reading.overflows(run.trace)
        if layer is not None:
            problem = f"{which} ends in numbers that are not finite from layer {layer} on"
            raise SessionError(f"{problem}, so it says nothing: {hint}")
        return run

    @property
    def source(self) -> Run | None:
        """The source's clean run; None without a source."""
        return self.real_run(self.source_ids) if self.source_ids else None

    def real_run(self, ids: Ids, edits: HookEdits = (), needs: Sequence[Need] = ()) -> Run:
        """A run of the model itself, in linear mode, too. Raises Cancelled."""
        return Run(self._runner, self._runner.run(ids, edits, needs, self.cancelled), self.cancelled)

    def run(self, ids: Ids, edits: HookEdits = (), needs: Sequence[Need] = ()) -> Run:
        """Any run on this model, in linear mode of the linear model around the clean run of these tokens. Only what
        differs from an earlier run is computed. Raises Cancelled, and SessionError where there is no linear model."""
        if self.session.linear:
            linear = self._engine.linear
            linear.let_go(ids, len(ids) // 2)  # one that goes on from an earlier text takes that one's first
            clean = self._runner.run(ids, (), needs, self.cancelled)
            linear.let_go(ids, len(ids) + 1)
            return linear_run(linear, clean, edits, self.cancelled)
        return self.real_run(ids, edits, needs)

    def run_once(self, ids: Ids, edits: HookEdits = (), after: Run | None = None) -> Run:
        """A run that nothing keeps, so that the prompt's stay. after: one to resume from. Raises Cancelled."""
        if self.session.linear:
            if isinstance(after, LinearRun) and after.ids == ids:
                return after.with_edits(edits)
            clean = self._runner.run(ids, (), self._engine.linear.patterns(), self.cancelled, keep=False)
            return linear_run(self._engine.linear, clean, edits, self.cancelled)
        base = None if after is None else after.trace
        return Run(self._runner, self._runner.run(ids, edits, (), self.cancelled, base, keep=False), self.cancelled)

    def check_cancelled(self) -> None:
        """Between two steps of a long computation. Raises Cancelled once the answer is not wanted any more."""
        if self.cancelled():
            raise Cancelled

    def run_ahead(self) -> None:
        """What the next edit may take from: the source's run. Raises Cancelled."""
        if self.source_ids and self.ids:
            self._runner.run_ahead(self.source_ids, self.clean.trace, self.cancelled)

    def run_together(self, others: Sequence[Session]) -> None:
        """Make the clean runs of this session and of others that will be opened next, as far as that saves time. What
        cannot be read is passed over: it is said when it is opened. Raises Cancelled."""
        if 2 * len({need.layer for need in self._needs}) > self.shape.n_layers:
            return  # most blocks would have to run again for what is needed of them
        numbers = (number for number, edit in enumerate(self.session.edits) if edit.on)
        takes = any(each.source_ids for number in numbers for each in self._resolved[number] or ())
        texts = [self.ids, self.source_ids if takes else ()]
        for session in others:
            with suppress(SessionError):
                read = Texts(self.model, session)
                texts += [read.ids, read.source_ids if takes else ()]
        self._runner.run_together([ids for ids in texts if ids], self.cancelled)

    @property
    def ran(self) -> str:
        """Which blocks and positions the last run computed, for the status line; empty where nothing ran."""
        if "clean" not in self.__dict__:  # it runs when it is first asked for
            return ""
        run = self.__dict__.get("edited") or self.clean  # an edited run that gives no numbers is none
        layer, position = run.trace.start
        count = self.shape.n_layers
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


class Engine:
    """One model, what is kept of its runs, and its head cards. Not for several threads."""

    def __init__(self, model: Model, load: Load | None = None) -> None:
        """load: loads another model, by name, to be set beside this one; it raises ModelError and Cancelled."""
        self.model = model
        self._load = load
        self._beside: tuple[str, Engine] | None = None
        self.runner = Runner(model)
        self.linear = LinearModel(self.runner)
        self.cards = CardIndex(model, self.runner.forward)
        self.contexts = Contexts(model, self.runner.forward)
        self.cases = Kept(self.runner)
        self.said = Memory(self.runner)  # by cases, to questions over all of them
        self.path_check = PathCheck(self.runner)
        self._made: OrderedDict[Hashable, Any] = OrderedDict()
        self._circuit: HeadCircuit | None = None
        self._translator: tuple[str, tuple[int, ...], Translator] | None = None
        self._compositions: dict[circuits.Kind, tuple[np.ndarray, float, float]] = {}

    def open(
        self,
        session: Session,
        cancelled: Callable[[], bool] = never,
        questions: Sequence[Question] = (),
        progress: Callable[[float], None] = ignore,
    ) -> OpenSession:
        """A session on this model, see `OpenSession`. Raises SessionError, Cancelled."""
        return OpenSession(self, session, cancelled, questions, progress)

    @cached_property
    def aside(self) -> Engine:
        """The same model, for runs that take no place of those on the screen."""
        other = copy(self)
        other.runner = self.said.runner
        return other

    def beside(self, model: str, cancelled: Callable[[], bool]) -> Engine:
        """Another model, loaded beside this one; it takes its memory until a third is asked for. Raises SessionError
        and Cancelled."""
        if self._beside is None or self._beside[0] != model:
            if self._load is None:
                raise SessionError(f"no second model can be loaded here, and {model} is one")
            self._beside = None  # its memory is free before the next one needs it
            try:
                self._beside = model, Engine(self._load(model, cancelled))
            except ModelError as error:
                raise SessionError(f"{model} cannot be loaded beside {self.model.ready.name}: {error}") from error
        return self._beside[1]

    def run(
        self, ids: Ids, edits: HookEdits = (), needs: Sequence[Need] = (), cancelled: Callable[[], bool] = never
    ) -> Run:
        """The run of these tokens with these edits. Raises Cancelled."""
        return Run(self.runner, self.runner.run(ids, edits, needs, cancelled), cancelled)

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """See `OpenSession.once`."""
        if key not in self._made:
            self._made[key] = make()
            while len(self._made) > MOST_MADE:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        found: Made = self._made[key]
        return found

    def composition(
        self, kind: circuits.Kind, cancelled: Callable[[], bool] = never, progress: Callable[[float], None] = ignore
    ) -> tuple[np.ndarray, float, float]:
        """See `OpenSession.composition`."""
        if kind not in self._compositions:
            shape = self.model.shape
            values = circuits.composition(self.model.bridge, kind, self.model.ready.name, cancelled, progress)
            self._compositions[kind] = values.numpy(), *circuits.random_composition(shape.d_model, shape.d_head)
        return self._compositions[kind]

    def translator(self, file: str) -> Translator:
        """See `OpenSession.translator`."""
        now, known = vector_files.state(file), self._translator
        if known is None or known[:2] != (file, now):
            self._translator = known = None  # its memory is free before the next one needs it
            self._translator = known = file, now, translators.read(file, self.model.ready)
        return known[2]

    def circuit(self, layer: int, head: int) -> HeadCircuit:
        """See `OpenSession.circuit`."""
        known = self._circuit
        if known is None or (known.layer, known.head) != (layer, head):
            readout = self.runner.forward.readout
            name, scale = self.model.ready.name, self._scale(layer, head)
            self._circuit = known = HeadCircuit(self.model.bridge, readout, layer, head, name, scale)
        return known

    def _scale(self, layer: int, head: int) -> float:
        """What a head's scores are multiplied by, from a run of a few tokens. Raises SessionError."""
        shape = self.model.shape
        ids = tuple(range(min(8, shape.d_vocab, shape.n_ctx)))
        attention = f"blocks.{layer}.attn"
        needs = [Need(f"{attention}.{hook}") for hook in ("hook_attn_scores", "hook_q", "hook_k")]
        run = self.run(ids, needs=needs)
        scores, queries, keys = (run.take(need) for need in needs)
        group = head * shape.n_kv_heads // shape.n_heads
        return circuits.scale_of(scores[head], queries[:, head], keys[:, group], self.model.ready.name)

    def save_vectors(self, session: Session, path: str) -> tuple[str, ...]:
        """Write the session's steering vectors to a safetensors file; their names. Raises SessionError."""
        if not session.vectors:
            raise SessionError("the session has no steering vector to save: make one first")
        bos = self.model.prepends(session.bos)
        try:
            dictionaries = self.runner.dictionaries
            made = [(each, dictionaries.steering(each, session, bos)) for each in session.vectors]
            values = {each: self.runner.vectors.value(of, never) for each, of in made}
        except EditError as error:
            raise SessionError(str(error)) from error
        vector_files.write(path, values, self.model.ready.source)
        return tuple(vector.name for vector in values)

    @property
    def trace_bytes(self) -> int:
        """Memory that the traces of runs hold."""
        return self.runner.store.bytes

    def forget(self) -> None:
        """Let go of all traces: the next run is a first one."""
        self.runner.store.forget()


@torch.inference_mode()
def together(tensors: Sequence[Tensor]) -> Tensor:
    """One of each layer, stacked, as float32 in this process's memory: in one transfer, however many there are."""
    first = tensors[0].device
    return torch.stack([each.to(first) for each in tensors]).float().cpu()


def each(opened: OpenSession, answer: Callable[[Run], Answer], question: Question | None = None) -> Answers:
    """The same computation on the clean and, with edits, on the edited run.

    question: given where nothing but it and the run decides the answer. It is then kept with the run.
    """

    def known(run: Run) -> Answer:
        if question is None:
            return answer(run)
        return run.remembered(type(question), question, lambda: answer(run))

    clean = known(opened.clean)
    if opened.waits:
        yield clean, None, True
    yield clean, known(opened.edited) if opened.edited is not None else None, False
