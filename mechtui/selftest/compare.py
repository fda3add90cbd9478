"""mechtui's engine and views on a model's own weights, beside Hugging Face's own modules with plain hooks.

What is expected is worked out here by hand, from docs/lines.md: nothing of the engine is asked for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mechtui.engine.api import Need, SessionError
from mechtui.selftest import plain
from mechtui.selftest.measures import answered
from mechtui.selftest.subject import CannotMeasure, Subject
from mechtui.session.document import Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.vectors import parse_vector
from mechtui.session.grammar.words import LineError
from mechtui.session.hook_edits import Ids

# The two hold the same words in another order, so that they have as many tokens.
PROMPT = "When Mary and John went to the store, John gave"
SOURCE = "When John and Mary went to the store, John gave"
TARGETS = (" Mary", " John"), ("M", "J"), ("a", "b")  # the first pair of one token each
GENERATED = 4
# The largest difference that rounding explains, as a share of the largest number that is compared: what an edit of an
# early layer rounds otherwise goes through all layers behind it.
TOLERANCE = 1e-3


@dataclass
class Outcome:
    """One line: how many numbers were compared, how many edits or views refused, and the largest difference, also as a
    share of what is tolerated; `where` names the comparison that it comes from. failed: why mechtui gave nothing."""

    what: str
    compared: int = 0
    difference: float = 0.0
    tolerance: float = 0.0
    share: float = 0.0
    where: str = ""
    refused: list[str] = field(default_factory=list)
    failed: str = ""

    def near(self, where: str, got: Any, expected: Any) -> None:
        got, expected = (torch.as_tensor(each).detach().cpu().double() for each in (got, expected))
        if got.shape != expected.shape:
            self._note(f"{where} (shape {tuple(got.shape)} for {tuple(expected.shape)})", torch.inf, 0.0)
            return
        self.compared += expected.numel()
        # What a query does not see is blank in both.
        hidden = expected.isnan() | expected.isinf()
        blank = got.isnan() | got.isinf()
        gap = (got - expected).abs().masked_fill(hidden & blank, 0).nan_to_num(torch.inf, torch.inf)
        largest = expected.masked_fill(hidden, 0).abs().max() if expected.numel() else torch.tensor(0.0)
        tolerance = TOLERANCE * max(1.0, float(largest))
        self._note(where, float(gap.max()) if gap.numel() else 0.0, tolerance)

    def _note(self, where: str, difference: float, tolerance: float) -> None:
        share = difference / tolerance if tolerance else torch.inf
        if not self.where or share > self.share:
            self.where, self.difference, self.tolerance, self.share = where, difference, tolerance, share

    @property
    def holds(self) -> bool | None:
        """None where all of it is refused."""
        if self.failed:
            return False
        return self.share <= 1 if self.where else None

    @property
    def text(self) -> str:
        if self.failed:
            return f"mechtui failed: {self.failed}"
        refused = f"refused: {'; '.join(self.refused)}" if self.refused else ""
        if not self.where:
            return refused
        found = f"{self.difference:.1e} of {self.tolerance:.1e} ({self.where}), {self.compared:,} numbers"
        return f"{found}; {refused}" if refused else found


# Edits by hand

# (value, value in the clean run, in the source's, the vector, what a query sees) -> new value.
Change = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor | None], Tensor]


def _mean(x: Tensor, _clean: Tensor, _source: Tensor, _vector: Tensor, seen: Tensor | None) -> Tensor:
    if seen is None:
        return x.mean(0, keepdim=True).expand_as(x)
    return (torch.where(seen, x, 0).sum(-1, keepdim=True) / seen.sum(-1, keepdim=True)).expand_as(x)


def _noise(x: Tensor, _clean: Tensor, _source: Tensor, _vector: Tensor, seen: Tensor | None) -> Tensor:
    drawn = torch.from_numpy(np.random.default_rng(5).standard_normal(tuple(x.shape)).astype(np.float32))
    return x + 0.5 * (x if seen is None else x[seen]).std(correction=0) * drawn


def _resampled(x: Tensor, _clean: Tensor, source: Tensor, _vector: Tensor, _seen: Tensor | None) -> Tensor:
    return source[torch.from_numpy(np.random.default_rng(3).integers(0, len(source), size=len(x)))]


# op -> (the rest of its line, what it does).
OPS: dict[str, tuple[str, Change]] = {
    "zero": ("", lambda x, clean, source, v, seen: torch.zeros_like(x)),
    "mean": ("", _mean),
    "resample": ("seed3", _resampled),
    "patch": ("", lambda x, clean, source, v, seen: source),
    "freeze": ("", lambda x, clean, source, v, seen: clean),
    "scale": ("x-2", lambda x, clean, source, v, seen: x * -2),
    "noise": ("sd0.5 seed5", _noise),
    "add": ("v x3", lambda x, clean, source, v, seen: x + 3 * v),
    "project": ("v", lambda x, clean, source, v, seen: x - (x @ v)[:, None] * v / (v @ v)),
}
SITES = ("z", "q", "k", "v", "pattern", "scores", "neuron", "attn", "mlp", "pre", "mid", "post", "embed", "pos")


class Comparison:
    """All that is compared of one model. Raises CannotMeasure where there is nothing to compare with."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        model = subject.model
        if model.plain is None:
            raise CannotMeasure("it is of TransformerLens's own architecture, which Hugging Face has not")
        self.plain = model.plain.model
        if plain.family(self.plain) is None:
            kind = self.plain.config.model_type
            raise CannotMeasure(f"where the modules of {kind} lie is not described in mechtui/selftest/plain.py")
        self.layer, self.head = min(1, subject.n_layers - 1), min(1, subject.n_heads - 1)
        self.ids, self.source = (tuple(model.encode(text, "auto")) for text in (PROMPT, SOURCE))
        if len(self.ids) + GENERATED > subject.n_ctx:
            raise CannotMeasure(f"it reads {subject.n_ctx} tokens, and the prompt has {len(self.ids)}")
        if len(self.ids) != len(self.source):
            raise CannotMeasure("its tokenizer gives the same words in another order another number of tokens")
        pairs = [pair for pair in TARGETS if all(subject.token(word) is not None for word in pair)]
        if not pairs:
            raise CannotMeasure("its tokenizer has no letters of one token")
        self.targets = pairs[0]
        self.clean, self.of_source = self.run(self.ids), self.run(self.source)
        # [d_model]: v = diff LN.pre of the prompt and the source.
        self.vector = self.clean[1]["pre", self.layer][-1] - self.of_source[1]["pre", self.layer][-1]

    # By hand

    def run(self, ids: Ids, change: plain.Act | None = None) -> tuple[Tensor, plain.Activations]:
        """Logits [pos, d_vocab], and every activation as it went on."""
        kept: plain.Activations = {}

        def act(site: str, layer: int, x: Tensor) -> Tensor:
            x = x if change is None else change(site, layer, x)
            kept[site, layer] = x.clone()  # some models add to their activations in place
            return x

        return plain.run(self.plain, ids, act)[0].float(), kept

    def by_hand(self, op: str, site: str, index: int | None, position: int | None = None) -> plain.Act:
        """What one op does at a site of one layer (head, neuron or whole), everywhere or at one position."""
        where = (site, 0 if site in ("embed", "pos") else self.layer)
        seen: list[Tensor] = []

        def act(at: str, layer: int, x: Tensor) -> Tensor:
            if at == "scores" and layer == where[1]:
                seen[:] = [x > -torch.inf]
            if op == "freeze" and (at, layer) == ("embed", 0):
                x = x.clone()
                x[2] *= 3  # `scale embed @2 x3` goes before, or there would be nothing to restore
            if (at, layer) != where:
                return x
            square = site in ("scores", "pattern")
            part = _part(site, index)
            own, clean, source = (part(each) for each in (x, self.clean[1][where], self.of_source[1][where]))
            sees = seen[0][index] if square else None
            new = OPS[op][1](own, clean, source, self.vector, sees)
            if sees is not None:
                new = torch.where(sees, new, own)
            x = x.clone()
            rows = slice(None) if position is None else slice(position, position + 1)
            part(x)[rows] = new[rows]
            return x

        return act

    def cut(self, at: str, layer: int, x: Tensor) -> Tensor:
        """`cut LNHM -1>0-1`: the last query no longer sees the first two keys; the rest of its row is renormalised."""
        if (at, layer) == ("pattern", self.layer):
            x = x.clone()
            x[self.head, -1, :2] = 0
            x[self.head, -1] /= x[self.head, -1].sum()
        return x

    # By mechtui

    def session(self, *edits: str) -> Session:
        vector = parse_vector(f'v = diff L{self.layer}.pre "{PROMPT}" "{SOURCE}"')
        return Session(
            prompt=PROMPT,
            source=SOURCE,
            answer=self.targets[0],
            foil=self.targets[1],
            vectors=(vector,),
            edits=tuple(parse_edit(line) for line in edits),
        )

    def edited(self, *edits: str) -> Tensor:
        """Logits of the edited run. Raises SessionError where an edit is refused."""
        opened = self.subject.engine.open(self.session(*edits))
        if opened.problems:
            raise SessionError(opened.problems[0].sentence)
        run = opened.edited or opened.clean
        return run.logits()

    def difference(self, logits: Tensor) -> float:
        answer, foil = (self.subject.model.single(word) for word in self.targets)
        return float(logits[-1, answer] - logits[-1, foil])

    # Beside each other

    def outcomes(self) -> Iterator[Outcome]:
        """One for each view and each kind of site."""
        for what, compare in (
            ("logits", self._logits),
            ("norms of the residual stream", self._residual),
            ("attention patterns and scores", self._attention),
            ("logit lens", self._lens),
            ("attribution and its sum", self._attribution),
            ("sweeps of zero and patch", self._sweeps),
            ("generation with an edit", self._generation),
        ):
            yield self._outcome(what, compare)
        for site in SITES:
            if (site, 0 if site in ("embed", "pos") else self.layer) in self.clean[1]:
                yield self._outcome(f"edits at {site}", partial(self._edits, site=site))
        yield self._outcome("cut edges", self._cut)

    def _outcome(self, what: str, compare: Callable[[Outcome], None]) -> Outcome:
        outcome = Outcome(what)
        try:
            compare(outcome)
        except SessionError as refusal:
            outcome.refused.append(str(refusal))
        except Exception as error:  # noqa: BLE001 - whatever it was, the line fails and says so, and the others follow
            outcome.failed = str(error).strip().partition("\n")[0] or "no reason was given"
        return outcome

    def _logits(self, outcome: Outcome) -> None:
        outcome.near("every position", self.edited(), self.clean[0])

    def _residual(self, outcome: Outcome) -> None:
        last = self.subject.n_layers - 1
        kept = self.clean[1]
        stream = [kept["pre", layer] for layer in range(last + 1)] + [kept["post", last]]
        found: Any = answered(self.subject, self.session(), "residual")
        outcome.near("every site", found.norm, torch.stack(stream).norm(dim=-1))

    def _attention(self, outcome: Outcome) -> None:
        engine = self.subject.engine
        for site, hook in (("pattern", "hook_pattern"), ("scores", "hook_attn_scores")):
            for layer in range(self.subject.n_layers):
                need = Need(f"blocks.{layer}.attn.{hook}")
                got = engine.run(self.ids, (), [need]).take(need).float().cpu()
                expected = self.clean[1][site, layer]
                # A score of a key that is not seen is a very low number.
                got = torch.where(expected == -torch.inf, torch.where(got < -1e30, -torch.inf, got), got)
                outcome.near(f"{site} of layer {layer}", got, expected)

    def _lens(self, outcome: Outcome) -> None:
        last = self.subject.n_layers - 1
        found: Any = answered(self.subject, self.session(), "lens")
        for layer in range(last + 1):
            kept = self.clean[1]["post", layer]
            logits, _ = self.run(self.ids, _instead(("post", last), kept))
            outcome.near(f"layer {layer}", found.prob[layer], logits.softmax(-1).amax(-1))

    def _attribution(self, outcome: Outcome) -> None:
        found: Any = answered(self.subject, self.session(), "attribution")
        outcome.near("total", found.total, self.difference(self.clean[0]))
        parts = found.parts
        summed = np.nansum(parts.heads) + np.nansum(parts.mlps) + parts.embed + parts.pos + parts.bias + parts.edits
        outcome.near("sum of the parts", summed, self.difference(self.clean[0]))

    def _sweeps(self, outcome: Outcome) -> None:
        baseline = self.difference(self.clean[0])
        found: Any = answered(self.subject, self.session(), f"sweep zero L{self.layer}H*")
        logits, _ = self.run(self.ids, self.by_hand("zero", "z", self.head))
        outcome.near("zero", found.values[0, self.head], self.difference(logits) - baseline)
        found = answered(self.subject, self.session(), f"sweep patch L{self.layer}.pre")
        clean = self.difference(self.of_source[0])
        for position in (2, len(self.ids) - 1):
            logits, _ = self.run(self.ids, self.by_hand("patch", "pre", None, position))
            change = self.difference(logits) - baseline
            # As a change of the logit difference: the share of a small difference would magnify the rounding.
            outcome.near(f"patch at {position}", found.values[0, position] * (clean - baseline), change)

    def _generation(self, outcome: Outcome) -> None:
        edit = f"scale L{self.layer}H{self.head} x-2"
        ids = list(self.ids)
        for _ in range(GENERATED):
            logits, _ = self.run(tuple(ids), self.by_hand("scale", "z", self.head))
            best = int(logits[-1].argmax())
            if best == self.subject.tokenizer.eos_token_id:
                break
            ids.append(best)
        found: Any = answered(self.subject, self.session(edit), f"generate {GENERATED}")
        got = [token.id for token in found.tokens][: len(ids) - len(self.ids)]
        wanted = ids[len(self.ids) :]
        same = [float(a == b) for a, b in zip(got, wanted, strict=False)]
        outcome.near("greedy tokens that are the same", same, [1.0] * len(wanted))

    def _edits(self, outcome: Outcome, site: str) -> None:
        index, name = self._site(site)
        for op, (rest, _) in OPS.items():
            line = f"{op} {name} {rest}".rstrip()
            before = ("scale embed @2 x3",) if op == "freeze" else ()
            try:
                parse_edit(line)
            except LineError:
                continue  # no such edit at such a site
            try:
                got = self.edited(*before, line)
            except SessionError as refusal:
                outcome.refused.append(str(refusal))
                continue
            outcome.near(line, got, self.run(self.ids, self.by_hand(op, site, index))[0])

    def _cut(self, outcome: Outcome) -> None:
        line = f"cut L{self.layer}H{self.head} -1>0-1"
        outcome.near(line, self.edited(line), self.run(self.ids, self.cut)[0])

    def _site(self, site: str) -> tuple[int | None, str]:
        """(head or neuron, how it is written)."""
        if site == "neuron":
            return 1, f"L{self.layer}N1"
        if site in ("embed", "pos"):
            return None, site
        if site in ("k", "v"):
            group = self.head * self.subject.model.shape.n_kv_heads // self.subject.n_heads
            return group, f"L{self.layer}H{group}.{site}"
        if site in ("z", "q", "pattern", "scores"):
            return self.head, f"L{self.layer}H{self.head}.{site}"
        return None, f"L{self.layer}.{site}"


def _instead(place: plain.Place, value: Tensor) -> plain.Act:
    """This value at that place, and everything else as it is."""
    return lambda site, layer, x: value if (site, layer) == place else x


def _part(site: str, index: int | None) -> Callable[[Tensor], Tensor]:
    """Of an activation the head's or the neuron's own table [pos, width], sharing its memory."""
    if index is None:
        return lambda x: x
    if site in ("pattern", "scores"):
        return lambda x: x[index]
    if site == "neuron":
        return lambda x: x[:, index : index + 1]
    return lambda x: x[:, index]
