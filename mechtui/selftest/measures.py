"""What papers measure, on any model, by mechtui's own engine and views. Heads are (layer, head)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from mechtui.embedded.text.words import NAMES, PLACES
from mechtui.engine.api import Need
from mechtui.engine.apply import EVERY_ROW
from mechtui.engine.runner import never
from mechtui.engine.weights import W_O, W_U
from mechtui.selftest.heads import Head
from mechtui.selftest.subject import CannotMeasure, Subject
from mechtui.session.document import Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.hook_edits import HookEdit, Ids
from mechtui.views import Answer, parse_question
from mechtui.views.attribution import AttributionAnswer, Components
from mechtui.views.sweep import SweepAnswer

# Templates of the kind in Wang et al. (2022), appendix E: the names are followed by a handover. {E} may hold a sentence
# that names one of the two once more.
TEMPLATES = (
    "Then, {A} and {B} went to the {P}. {E}{S} gave a {G} to",
    "Then, {A} and {B} were working at the {P}. {E}{S} gave a {G} to",
    "Afterwards, {A} and {B} had lunch at the {P}. {E}{S} gave a {G} to",
    "The friends {A} and {B} came home from the {P}. {E}{S} gave a {G} to",
)
AGAIN = "{N} had a good day. "
THINGS = (
    *("drink", "book", "ball", "ring", "cake", "flower", "key", "basket"),
    *("map", "pen", "coat", "hat", "bone", "computer"),
)
NOUNS = ["war", "siege", "strike", "drought", "festival", "conflict", "journey", "project"]
# A head copies a name that is among so many of the likeliest tokens.
COPIED = 5


# Indirect objects


@dataclass(frozen=True)
class Case:
    """One prompt that ends before the indirect object. io, s: ids of the two names with a leading space; io_at, s1_at,
    s2_at: where they stand. names: their texts. Prompts of one `template` have the same length."""

    text: str
    ids: Ids
    template: int
    names: tuple[str, str]
    io: int
    s: int
    io_at: int
    s1_at: int
    s2_at: int

    @property
    def session(self) -> Session:
        return Session(prompt=self.text, answer=self.names[0], foil=self.names[1])


class Words:
    """The names, places and things that are one token each for a tokenizer. Raises CannotMeasure."""

    def __init__(self, subject: Subject) -> None:
        def single(words: Sequence[str]) -> list[str]:
            return [word for word in words if subject.token(f" {word}") is not None]

        self.names, self.places, self.things = single(NAMES), single(PLACES), single(THINGS)
        if min(len(self.names) - 3, len(self.places), len(self.things)) < 1:
            raise CannotMeasure("its tokenizer has too few names, places and things of one token")


def cases(subject: Subject, count: int, seed: int = 0, again: str = "") -> list[Case]:
    """Prompts of all templates in turn, in both orders of the names. again: "io" or "s", who is named once more.
    Raises CannotMeasure."""
    rng, words = random.Random(seed), Words(subject)
    made = []
    for number in range(count):
        io, s = rng.sample(words.names, 2)
        first, second = (io, s) if number // len(TEMPLATES) % 2 else (s, io)
        extra = AGAIN.replace("{N}", io if again == "io" else s) if again else ""
        template = number % len(TEMPLATES)
        text = _filled(template, rng, words, first, second, s, extra)
        ids = _ids(subject, text)
        names = subject.model.single(f" {io}"), subject.model.single(f" {s}")
        places = [at for at, id in enumerate(ids) if id == names[1]]
        at = ids.index(names[0]), places[0], places[-1]
        made.append(Case(text, ids, template, (f" {io}", f" {s}"), *names, *at))
    return made


def three_names(subject: Subject, template: int, count: int, seed: int = 0) -> list[Ids]:
    """Prompts of a template in which three people are named once each, so that no name is to be expected."""
    rng, words = random.Random(seed), Words(subject)
    found = []
    for _ in range(count):
        a, b, s = rng.sample(words.names, 3)
        found.append(_ids(subject, _filled(template, rng, words, a, b, s, "")))
    return found


def _filled(template: int, rng: random.Random, words: Words, a: str, b: str, s: str, extra: str) -> str:
    return TEMPLATES[template].format(A=a, B=b, S=s, E=extra, P=rng.choice(words.places), G=rng.choice(words.things))


def _ids(subject: Subject, text: str) -> Ids:
    ids = tuple(subject.model.encode(text, "auto"))
    if len(ids) > subject.n_ctx:
        raise CannotMeasure(f"it reads {subject.n_ctx} tokens, and such a prompt has {len(ids)}")
    return ids


@dataclass(frozen=True)
class Preference:
    """Over prompts: the mean of logit(IO) - logit(S), the share of prompts in which it is above 0, mean P(IO)."""

    difference: float
    share: float
    probability: float


def preference(subject: Subject, given: Sequence[Case]) -> Preference:
    logits = torch.stack([_last(subject, case.ids) for case in given])
    return preferred(logits, given)


def preferred(logits: Tensor, given: Sequence[Case]) -> Preference:
    """logits: [case, d_vocab]."""
    rows = torch.arange(len(given))
    io, s = (torch.tensor([getattr(case, name) for case in given]) for name in ("io", "s"))
    difference = logits[rows, io] - logits[rows, s]
    probability = logits.softmax(-1)[rows, io]
    return Preference(float(difference.mean()), float((difference > 0).float().mean()), float(probability.mean()))


def _last(subject: Subject, ids: Ids) -> Tensor:
    """[d_vocab] after the last token."""
    return subject.engine.run(ids).logits([-1])[0].cpu()


def attention(subject: Subject, given: Sequence[tuple[Ids, int, int]]) -> Tensor:
    """[layer, head]: mean attention over (ids, query, key)."""
    total = torch.zeros(subject.n_layers, subject.n_heads)
    for ids, query, key in given:
        needs = [Need(f"blocks.{layer}.attn.hook_pattern", "at", query) for layer in range(subject.n_layers)]
        run = subject.engine.run(ids, (), needs)
        total += torch.stack([run.take(need)[:, key].float().cpu() for need in needs])
    return total / len(given)


def answered(subject: Subject, session: Session, line: str) -> Answer:
    """What the app answers to a question about a session: of the edited run where an edit is on."""
    opened = subject.engine.open(session, questions=(parse_question(line),))
    *_, (clean, edited, _) = opened.answer(parse_question(line))
    answer = edited or clean
    assert answer is not None
    return answer


def direct_effects(subject: Subject, given: Sequence[Case]) -> Tensor:
    """[layer, head]: what each head itself writes to logit(IO) - logit(S) at the end, the mean over prompts."""
    found = [answered(subject, case.session, "attribution") for case in given]
    parts = [each.parts for each in found if isinstance(each, AttributionAnswer)]
    return torch.from_numpy(np.mean([each.heads for each in parts if isinstance(each, Components)], axis=0))


def patch_effects(subject: Subject, corrupted: Case, clean: Case, part: str) -> Tensor:
    """[layer, head]: share of the clean prompt's logit difference that comes back when this part of one head's
    ("pattern", "v", "z") is taken from the clean run."""
    session = Session(prompt=corrupted.text, source=clean.text, answer=clean.names[0], foil=clean.names[1])
    found = answered(subject, session, f"sweep patch L*H*.{part}")
    assert isinstance(found, SweepAnswer)
    return torch.from_numpy(found.values)


def with_other_subject(subject: Subject, case: Case) -> Case:
    """The same prompt with the other name said twice, whose names keep their roles in `case`."""
    at = case.text.rindex(case.names[1])
    text = case.text[:at] + case.names[0] + case.text[at + len(case.names[1]) :]
    ids = _ids(subject, text)
    return Case(text, ids, case.template, case.names, case.io, case.s, case.io_at, case.s1_at, case.s2_at)


# Mean ablation


class MeanAblation:
    """Heads put to their mean over prompts of three names, of the same template and at the same position."""

    def __init__(self, subject: Subject, count: int = 12) -> None:
        self.subject = subject
        self.count = count
        self._means: dict[int, list[Tensor]] = {}

    def means(self, template: int) -> list[Tensor]:
        """Per layer [pos, head, d_head]."""
        if template not in self._means:
            needs = [Need(f"blocks.{layer}.attn.hook_z") for layer in range(self.subject.n_layers)]
            engine = self.subject.engine
            runs = [engine.run(ids, (), needs) for ids in three_names(self.subject, template, self.count)]
            self._means[template] = [torch.stack([run.take(need) for run in runs]).mean(0) for need in needs]
        return self._means[template]

    @torch.inference_mode()
    def logits(self, case: Case, heads: Mapping[Head, Sequence[int]]) -> Tensor:
        """[d_vocab] at the end, with these heads put to their means at these positions."""
        forward, means = self.subject.engine.runner.forward, self.means(case.template)
        givens = {
            HookEdit("patch", f"blocks.{layer}.attn.hook_z", layer, (head,), tuple((p, p) for p in sorted(at))): means[
                layer
            ][sorted(at), head][:, None]
            for (layer, head), at in heads.items()
            if at
        }
        first = min((edit.layer for edit in givens), default=self.subject.n_layers - 1)
        passed = forward.through(
            self.subject.engine.run(case.ids).resid(first)[None],
            forward.calls_for(case.ids),
            range(first, self.subject.n_layers),
            None,
            [(edit, EVERY_ROW) for edit in givens],
            givens,
            (),
            0,
            never,
        )
        return forward.logits(passed.stream[-1][:, -1:])[0, 0].float().cpu()

    def without(self, given: Sequence[Case], heads: Sequence[Head]) -> Preference:
        """With these heads knocked out at the end."""
        logits = [self.logits(case, {head: [len(case.ids) - 1] for head in heads}) for case in given]
        return preferred(torch.stack(logits), given)

    def only(self, given: Sequence[Case], circuit: Mapping[Head, str]) -> Preference:
        """With all heads knocked out everywhere, but those of the circuit where they have their part: "end", "s2" or
        "s1+1"."""
        every = [(layer, head) for layer in range(self.subject.n_layers) for head in range(self.subject.n_heads)]
        logits = []
        for case in given:
            places = {"end": len(case.ids) - 1, "s2": case.s2_at, "s1+1": case.s1_at + 1}
            kept = {head: places[role] for head, role in circuit.items()}
            out = {head: [p for p in range(len(case.ids)) if p != kept.get(head)] for head in every}
            logits.append(self.logits(case, out))
        return preferred(torch.stack(logits), given)


# What heads write


@dataclass
class Writes:
    """What heads make of the names in prompts."""

    subject: Subject
    given: Sequence[Case]

    @cached_property
    def _entering(self) -> tuple[Tensor, Tensor]:
        """([name, d_model], ids [name]): what the first block leaves at each first place of a name."""
        rows: dict[int, Tensor] = {}
        for case in self.given:
            resid = self.subject.engine.run(case.ids).resid(1)
            for id, at in ((case.io, case.io_at), (case.s, case.s1_at)):
                rows.setdefault(id, resid[at])
        return torch.stack(list(rows.values())), torch.tensor(list(rows))

    @torch.inference_mode()
    def copying(self, head: Head, sign: int = 1) -> float:
        """Share of names that are among the 5 likeliest tokens when the head's OV circuit alone speaks of them (of its
        negative with sign -1)."""
        layer, number = head
        entering, ids = self._entering
        block = self.subject.bridge.blocks[layer]
        values = _inner(block.attn.v)(_inner(block.ln1)(entering))
        shape = self.subject.model.shape
        values = values.view(len(ids), -1, shape.d_head)[:, number * shape.n_kv_heads // shape.n_heads]
        written = sign * (values @ W_O(self.subject.bridge, layer)[number])
        best = self.subject.engine.runner.forward.logits(written[None])[0].topk(COPIED).indices.cpu()
        return float((best == ids[:, None]).any(-1).float().mean())

    @torch.inference_mode()
    def correlation(self, head: Head) -> float:
        """Of the head's attention from the end to a name with what it then writes along the name's unembedding."""
        layer, number = head
        out, unembed = W_O(self.subject.bridge, layer)[number], W_U(self.subject.bridge)
        seen, written = [], []
        for case in self.given:
            end = len(case.ids) - 1
            needs = Need(f"blocks.{layer}.attn.hook_z", "at", end), Need(f"blocks.{layer}.attn.hook_pattern", "at", end)
            run = self.subject.engine.run(case.ids, (), needs)
            z, pattern = (run.take(need)[number] for need in needs)
            for id, at in ((case.io, case.io_at), (case.s, case.s1_at)):
                seen.append(float(pattern[at]))
                written.append(float((z @ out) @ unembed[:, id]))
        return float(np.corrcoef(seen, written)[0, 1])


def _inner(part: object) -> torch.nn.Module:
    inner: torch.nn.Module = part.original_component  # type: ignore[attr-defined]
    return inner


# Years


@dataclass(frozen=True)
class Span:
    """A prompt that asks for a year after 17YY: ids, YY, and where it stands."""

    ids: Ids
    year: int
    at: int


def spans(subject: Subject, count: int, seed: int = 0) -> list[Span]:
    """Prompts of the kind in Hanna et al. (2023). Raises CannotMeasure where years are not two tokens, 17 and YY."""
    rng, made = random.Random(seed), []
    for _ in range(count):
        year = rng.randint(2, 98)
        ids = _ids(subject, f"The {rng.choice(NOUNS)} lasted from the year 17{year:02} to the year 17")
        token = subject.token(f"{year:02}")
        if token not in ids or ids[-1] != subject.token(" 17"):
            raise CannotMeasure("its tokenizer does not write 1732 as two tokens, 17 and 32")
        made.append(Span(ids, year, ids.index(token)))
    return made


def greater(subject: Subject, given: Sequence[Span]) -> float:
    """Mean over prompts of P(a later year) - P(this year or an earlier one)."""
    years = torch.tensor([subject.model.single(f"{year:02}") for year in range(100)])
    found = [_last(subject, span.ids).softmax(-1)[years] for span in given]
    pairs = zip(found, given, strict=True)
    return float(np.mean([float(p[span.year + 1 :].sum() - p[: span.year + 1].sum()) for p, span in pairs]))


# Single prompts


@dataclass(frozen=True)
class Rise:
    """A word's logit without and with an edit, and the likeliest word without and with it."""

    before: float
    after: float
    top_before: str
    top_after: str


def rise(subject: Subject, prompt: str, word: str, edit: str) -> Rise:
    """What an edit line does to a word at the end of a prompt. Raises CannotMeasure."""
    id = subject.token(word)
    if id is None:
        raise CannotMeasure(f'"{word}" is not one token for its tokenizer')
    opened = subject.engine.open(Session(prompt=prompt, edits=(parse_edit(edit),)))
    assert opened.edited is not None
    clean, edited = (run.logits([len(opened.ids) - 1])[0] for run in (opened.clean, opened.edited))
    tops = (subject.model.token(int(logits.argmax())).text for logits in (clean, edited))
    return Rise(float(clean[id]), float(edited[id]), *tops)


def size(subject: Subject, prompt: str, layer: int, dimension: int) -> float:
    """Of one dimension of what a block leaves at the first position."""
    run = subject.engine.run(_ids(subject, prompt))
    return float(run.resid_at(layer + 1, 0)[dimension].abs())


@torch.inference_mode()
def centring(subject: Subject, prompt: str) -> float:
    """The largest change of a probability when the unembedding's mean over all tokens is taken out of it."""
    run = subject.engine.run(_ids(subject, prompt))
    normal = subject.bridge.ln_final(run.resid(subject.n_layers)[None])[0].float()
    unembed = W_U(subject.bridge).float()
    bias = getattr(_inner(subject.bridge.unembed), "bias", None)
    centred = normal @ (unembed - unembed.mean(1, keepdim=True)) + (0 if bias is None else bias)
    return float((centred.softmax(-1) - run.logits().softmax(-1)).abs().max())


def ranked(table: Tensor) -> Iterator[Head]:
    """Heads by a table [layer, head], the largest first."""
    for number in table.flatten().argsort(descending=True).tolist():
        yield divmod(int(number), table.shape[1])
