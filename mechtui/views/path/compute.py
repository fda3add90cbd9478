"""Paths into one receiver: each alone as a variant of the run; into the logits from the writes themselves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mechtui.engine.api import Answers, HookEdits, Look, Need, OpenSession, Run, SessionError
from mechtui.none import NONE
from mechtui.session import sites
from mechtui.session.changes import head_site
from mechtui.session.document import ALL, Positions, Range, Site
from mechtui.session.grammar.places import format_site
from mechtui.session.hook_edits import Sender
from mechtui.views.path import HEAD_PARTS, Path, PathAnswer
from mechtui.views.sweep import Left

# What linear mode holds of what a receiver makes of the stream.
PATTERNS = "attention's patterns are held at their clean values"
HELD = {"q": PATTERNS, "k": PATTERNS, "mlp": "neurons are held at their clean activations"}


def needs(question: Path, opened: OpenSession) -> list[Need]:
    return []


def answers(question: Path, opened: OpenSession) -> Answers:
    plan = _plan(question, opened)
    runs = [run for run in (opened.edited, opened.clean) if run is not None]
    if question.part == "logits":
        told = [_of_logits(run, plan, opened) for run in runs]
        yield told[-1], told[0] if len(told) > 1 else None, False
        return
    both = [_Paths(run, plan, opened) for run in runs]

    def answer() -> tuple[PathAnswer, PathAnswer | None, bool]:
        edited = both[0].answer() if len(both) > 1 else None
        return both[-1].answer(), edited, any(each.missing for each in both)

    yield answer()
    for paths in both:
        for _ in paths.fill():
            opened.progress(sum(each.done for each in both) / sum(each.runs for each in both))
            yield answer()


@dataclass(frozen=True)
class _Plan:
    """What is asked. names, edits: of each row; together: of all at once, None where nothing
    would be left. at: the receiver's position, None for all."""

    question: Path
    receiver: str
    how: Literal["cut", "patch"]
    names: tuple[str, ...]
    senders: tuple[Site, ...]
    edits: tuple[HookEdits, ...]
    together: HookEdits | None
    at: int | None
    query: int | None
    key: int | None
    targets: tuple[int, int]


def _plan(question: Path, opened: OpenSession) -> _Plan:
    """Raises SessionError, EditError."""
    shape, last = opened.shape, len(opened.ids) - 1
    if opened.session.linear and question.part in HELD:
        name = question.receiver_name()
        raise SessionError(
            f"in linear mode {HELD[question.part]}, so that no path into {name} does anything: L turns it off"
        )
    receiver = question.receiver(shape)
    if receiver is not None:
        if question.part in HEAD_PARTS:
            opened.check_site(head_site(question.layer, question.head))
        opened.check_site(receiver)
    answer, foil = opened.targets_at(last)
    if answer is None or foil is None:
        lacks = "an answer and a foil"
        raise SessionError(f"a path is measured by a logit difference: give the session {lacks}", lacks)
    how: Literal["cut", "patch"] = "patch" if opened.source is not None and not question.cut else "cut"
    at = None if question.at is None else opened.position(question.at)
    query, key = _cell(question, opened, at, last)
    if question.sender is not None:
        opened.check_site(question.sender)
    senders = question.senders(shape) if question.sender is None else [question.sender]
    everywhere = list(range(len(opened.ids)))
    if how == "patch":
        everywhere = [position for position in everywhere if opened.alignment[position] >= 0]
    if not everywhere:
        raise SessionError("no token of the prompt has a partner in the source: path … cut takes the writes away")
    whole = ALL if len(everywhere) == len(opened.ids) else _positions(everywhere)
    op, edits, names = f"{how}-path", [], [format_site(sender) for sender in senders]

    def path(sender: Site, positions: Positions) -> None:
        edits.append(opened.hook_edits_of(question.edit(op, sender, shape, positions), opened.ids, True))

    if receiver is not None and question.sender is not None:
        ends = everywhere if at is None else [at]
        names = [f"@{position}" for position in ends]
        for position in ends:
            path(question.sender, _positions([position]))
    elif receiver is not None:
        for sender in senders:
            path(sender, whole if at is None else _positions([at]))
    # Less all that was ever written, nothing is left that could be normed.
    joint = how == "patch" or question.sender is not None
    together = tuple(each for edit in edits for each in edit) if joint else None
    name = "logits" if receiver is None else format_site(receiver)
    return _Plan(
        question, name, how, tuple(names), tuple(senders), tuple(edits), together, at, query, key, (answer, foil)
    )


def _positions(positions: Sequence[int]) -> Positions:
    return Positions(tuple(Range(position, position) for position in positions))


def _cell(question: Path, opened: OpenSession, at: int | None, last: int) -> tuple[int | None, int | None]:
    """Query and key of the attention that is looked at. Raises SessionError."""
    if question.part == "logits":
        return None, None
    if question.part == "mlp":
        return (last if at is None else at), None
    other = None if question.other is None else opened.position(question.other)
    if question.part == "q":
        query, key = (last if at is None else at), other
    else:
        query, key = (last if other is None else other), at
    if key is not None and key > query:
        raise SessionError(f"position {query} cannot see position {key}, which comes later")
    if key is None:
        hook = f"blocks.{question.layer}.attn.hook_pattern"
        key = int(opened.clean.take(Need(hook, "at", query))[question.head].argmax())
    return query, key


def _look(plan: _Plan, run: Run, opened: OpenSession) -> tuple[Look, float, float | None]:
    """What is looked at of each variant, what it is of the run itself, and the attention score, where it is one."""
    question, query, key = plan.question, plan.query, plan.key
    layer, head = question.layer, question.head
    begin = f"blocks.{layer}."
    if question.part in ("q", "k"):
        hook = f"{begin}attn.hook_attn_scores"
        assert query is not None
        assert key is not None

        def score(value: Tensor, offset: int) -> Tensor | None:
            return None if query < offset else value[:, head, query - offset, key]

        own = float(run.take(Need(hook, "at", query))[head, key])
        return Look(hook, layer, score), own, own
    hook, position = (f"{begin}hook_mlp_out", query) if question.part == "mlp" else (f"{begin}attn.hook_v", key)
    assert position is not None
    group = None if question.part == "mlp" else head * opened.shape.n_kv_heads // opened.shape.n_heads
    gives = run.take(Need(hook, "at", position))
    gives = (gives if group is None else gives[group]).float()
    length = float(gives @ gives) or 1.0

    def share(value: Tensor, offset: int) -> Tensor | None:
        if not 0 <= position - offset < value.shape[1]:
            return None
        now = value[:, position - offset] if group is None else value[:, position - offset, group]
        return (now.float() @ gives) / length

    return Look(hook, layer, share), 1.0, None


class _Paths:
    """The paths of one run. What is computed stays with the run, so that what was interrupted goes on."""

    def __init__(self, run: Run, plan: _Plan, opened: OpenSession) -> None:
        self.run, self.plan, self.position = run, plan, len(opened.ids) - 1
        self.count = len(plan.edits)
        each = plan.edits if plan.together is None else (*plan.edits, plan.together)
        self.variants = [(*run.edits, *edits) for edits in each]
        self.baseline = _difference(run.logits([-1])[0], plan)
        self.look, self.own, self.score = _look(plan, run, opened)
        self.seconds: float | None = None
        key = (tuple(self.variants), plan.targets, plan.query, plan.key, plan.question.head)
        kept = run.remembered(Path, key, self._empty)
        assert isinstance(kept, PathAnswer)
        # Infinite where a run left no finite number; NaN where there was none yet.
        self.effect, self.moves = kept.effect, kept.moves

    def _empty(self) -> PathAnswer:
        effect, moves = (np.full(len(self.variants), NONE, dtype=np.float32) for _ in range(2))
        return PathAnswer("", self.plan.how, (), effect, moves, 0.0)

    @property
    def runs(self) -> int:
        return len(self.variants)

    @property
    def missing(self) -> list[int]:
        """Those that are nearest to the receiver first: they run fewest blocks before anything is known."""
        return [number for number in reversed(range(self.runs)) if math.isnan(self.effect[number])]

    @property
    def done(self) -> int:
        return self.runs - len(self.missing)

    def fill(self) -> Iterator[None]:
        """Compute the missing ones; after each batch there are more."""
        missing = self.missing
        for part in self.run.parts([self.variants[number] for number in missing], self.position, look=self.look):
            for at, number in enumerate(part.numbers):
                change = _difference(part.logits[at], self.plan) - self.baseline
                self.effect[missing[number]] = change if math.isfinite(change) else math.inf
                if part.looked is not None:
                    now = float(part.looked[at])
                    self.moves[missing[number]] = 0.0 if math.isnan(now) else now - self.own
            self.seconds = part.seconds
            yield

    def answer(self) -> PathAnswer:
        plan = self.plan
        effect = np.where(np.isinf(self.effect), np.float32(np.nan), self.effect)
        moves = np.where(np.isinf(self.moves), np.float32(np.nan), self.moves)
        together = float(effect[self.count]) if self.count < self.runs else NONE
        left = Left(self.runs, self.done, self.seconds, 0) if self.missing else None
        return PathAnswer(
            plan.receiver,
            plan.how,
            plan.names,
            effect[: self.count].copy(),
            moves[: self.count].copy(),
            self.baseline,
            plan.query,
            plan.key,
            self.score,
            together if math.isfinite(together) else None,
            left,
        )


def _difference(logits: Tensor, plan: _Plan) -> float:
    answer, foil = plan.targets
    return float(logits[answer] - logits[foil])


@torch.inference_mode()
def _of_logits(run: Run, plan: _Plan, opened: OpenSession) -> PathAnswer:
    """What of each sender's write the logits read, through the final norm of what is left."""
    last = len(opened.ids) - 1
    source, partner = opened.source, opened.alignment[last] if opened.alignment else -1
    if plan.how == "patch" and partner < 0:
        raise SessionError("the last token has no partner in the source: path logits cut takes the writes away")

    def written(of: Run, position: int) -> Tensor:
        every: list[Tensor] = []
        for sender in _whole(plan.senders, opened):
            every += [*opened.wrote(of, sender, position)]
        return torch.stack([each.to(every[0].device) for each in every])

    change = -written(run, last)
    if plan.how == "patch":
        assert source is not None
        change = change + written(source, partner).to(change.device)
    logits = run.logits_with(torch.cat([change, change.sum(0)[None]]), last)
    baseline = _difference(run.logits([last])[0], plan)
    effect = np.array([_difference(each, plan) - baseline for each in logits], dtype=np.float32)
    nothing = np.full(len(plan.names), NONE, dtype=np.float32)
    together = float(effect[-1]) if plan.how == "patch" else NONE
    return PathAnswer(
        "logits",
        plan.how,
        plan.names,
        effect[:-1],
        nothing,
        baseline,
        together=together if math.isfinite(together) else None,
    )


def _whole(senders: tuple[Site, ...], opened: OpenSession) -> Iterator[Sender]:
    """The senders in their order, the heads of a layer together."""
    seen: set[str] = set()
    for site in senders:
        [(hook, layer)] = sites.hooks(site, opened.shape)
        if site.kind != "head":
            yield Sender(hook, layer)
        elif hook not in seen:
            seen.add(hook)
            yield Sender(hook, layer, tuple(range(opened.shape.n_heads)))
