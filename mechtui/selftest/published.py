"""`mechtui selftest gpt2`: each claim of `claims`, measured on a model with GPT-2 small's heads.

What needs sparse autoencoders, path patching or other models is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mechtui.selftest import claims, heads
from mechtui.selftest import measures as m
from mechtui.selftest.heads import Head
from mechtui.selftest.subject import CannotMeasure, Subject

MOVERS: tuple[Head, ...] = ((9, 9), (9, 6), (10, 0))
NEGATIVE: tuple[Head, ...] = ((10, 7), (11, 10))
INHIBITION: tuple[Head, ...] = ((7, 3), (7, 9), (8, 6), (8, 10))
INDUCTION = {(5, 5): 0.93, (6, 9): 0.91, (7, 10): 0.91, (5, 1): 0.91, (7, 2): 0.83}
YEAR_HEADS: tuple[Head, ...] = ((5, 5), (6, 1), (6, 9), (7, 10), (8, 11), (9, 1))
# Wang et al. 2022, figure 2: where each head of the circuit has its part.
CIRCUIT: dict[Head, str] = {
    **dict.fromkeys((*MOVERS, *NEGATIVE, *INHIBITION), "end"),
    **dict.fromkeys(((9, 0), (9, 7), (10, 1), (10, 2), (10, 6), (10, 10), (11, 2), (11, 9)), "end"),  # backups
    **dict.fromkeys(((5, 5), (5, 8), (5, 9), (6, 9), (0, 1), (0, 10), (3, 0)), "s2"),
    **dict.fromkeys(((2, 2), (4, 11)), "s1+1"),
}


@dataclass(frozen=True)
class Found:
    """What was measured, as text and as numbers, and whether it is as published; holds None: not measured."""

    text: str
    holds: bool | None
    numbers: dict[str, float]


class Published:
    """The measures on one model. count: prompts each."""

    def __init__(self, subject: Subject, count: int = 40) -> None:
        if (subject.n_layers, subject.n_heads) != (12, 12):
            raise CannotMeasure("the published claims are of GPT-2 small, which has 12 layers of 12 heads")
        self.subject = subject
        self.count = count

    @cached_property
    def cases(self) -> list[m.Case]:
        return m.cases(self.subject, self.count)

    @cached_property
    def preference(self) -> m.Preference:
        return m.preference(self.subject, self.cases)

    @cached_property
    def direct(self) -> Tensor:
        return m.direct_effects(self.subject, self.cases)

    @cached_property
    def writes(self) -> m.Writes:
        return m.Writes(self.subject, self.cases[:16])

    @cached_property
    def repeats(self) -> heads.RepeatScores:
        return heads.repeat_scores(self.subject)

    def found(self, claim: claims.Claim) -> Found:
        """One claim, measured."""
        try:
            return MEASURES[claim.key](self)
        except CannotMeasure as reason:
            return Found(f"not measured: {reason}", None, {})

    def every(self) -> Iterator[tuple[claims.Claim, Found]]:
        for claim in claims.CLAIMS:
            yield claim, self.found(claim)


def name(head: Head) -> str:
    """As the papers write it."""
    return f"{head[0]}.{head[1]}"


def _values(which: Sequence[Head], value: Callable[[Head], float], digits: int = 2) -> tuple[str, dict[str, float]]:
    numbers = {name(head): value(head) for head in which}
    return ", ".join(f"{head} {number:.{digits}f}" for head, number in numbers.items()), numbers


def _at(table: Tensor) -> Callable[[Head], float]:
    return lambda head: float(table[head])


def _among(found: Published, table: Tensor, which: Sequence[Head], most: int, needed: int) -> Found:
    """Whether at least `needed` of these heads are among the `most` largest."""
    order = list(m.ranked(table))
    first = order[:most]
    there = sum(head in first for head in which)
    numbers = {f"rank of {name(head)}": float(order.index(head) + 1) for head in which}
    listed = ", ".join(f"{name(head)} {table[head]:.2f}" for head in first[:6])
    return Found(f"{there} of {len(which)}; largest: {listed}", there >= needed, numbers)


def _difference(p: Published) -> Found:
    got = p.preference
    holds = abs(got.difference - 3.56) <= 1 and got.share > 0.95
    return Found(f"{got.difference:.2f}, {got.share:.1%}, {got.probability:.0%}", holds, vars(got))


def _movers(p: Published) -> Found:
    return _among(p, p.direct, MOVERS, 3, 3)


def _movers_look(p: Published) -> Found:
    table = m.attention(p.subject, [(case.ids, len(case.ids) - 1, case.io_at) for case in p.cases])
    text, numbers = _values(MOVERS, _at(table))
    mean = sum(numbers.values()) / len(MOVERS)
    return Found(f"{mean:.2f}: {text}", mean >= 0.45, {"mean": mean, **numbers})


def _correlation(p: Published) -> Found:
    text, numbers = _values(MOVERS, p.writes.correlation)
    return Found(text, min(numbers.values()) >= 0.75, numbers)


def _copied(p: Published, which: Sequence[Head], sign: int) -> tuple[str, dict[str, float], float]:
    every = [(layer, head) for layer in range(p.subject.n_layers) for head in range(p.subject.n_heads)]
    shares = {head: p.writes.copying(head, sign) for head in every}
    text, numbers = _values(which, lambda head: shares[head])
    average = sum(shares.values()) / len(shares)
    return f"{text}; average head {average:.0%}", numbers | {"average": average}, average


def _copying(p: Published) -> Found:
    text, numbers, average = _copied(p, MOVERS, 1)
    return Found(text, min(numbers[name(head)] for head in MOVERS) >= 0.9 and average <= 0.25, numbers)


def _negative(p: Published) -> Found:
    text, numbers, _ = _copied(p, NEGATIVE, -1)
    written, direct = _values(NEGATIVE, _at(p.direct))
    holds = min(numbers[name(head)] for head in NEGATIVE) >= 0.9 and max(direct.values()) < 0
    return Found(
        f"{text}; directly {written}", holds, numbers | {f"direct {key}": value for key, value in direct.items()}
    )


def _inhibition(p: Published) -> Found:
    table = m.attention(p.subject, [(case.ids, len(case.ids) - 1, case.s2_at) for case in p.cases])
    text, numbers = _values(INHIBITION, _at(table))
    mean = sum(numbers.values()) / len(INHIBITION)
    return Found(f"{mean:.2f}: {text}", mean >= 0.4, {"mean": mean, **numbers})


def _kinds(p: Published) -> Found:
    kinds: tuple[tuple[Tensor, tuple[Head, ...]], ...] = (
        (p.repeats.induction, ((5, 5), (6, 9))),
        (p.repeats.duplicate, ((0, 1), (3, 0))),
        (p.repeats.previous, ((4, 11), (2, 2))),
    )
    ranks = {name(head): float(list(m.ranked(table)).index(head) + 1) for table, which in kinds for head in which}
    listed = ", ".join(f"{head} is {rank:.0f}." for head, rank in ranks.items())
    return Found(listed, max(ranks.values()) <= 8, ranks)


def _knock_out(p: Published) -> Found:
    without = m.MeanAblation(p.subject).without(p.cases, MOVERS).difference
    fall = 1 - without / p.preference.difference
    text = f"{fall:.0%}: {p.preference.difference:.2f} to {without:.2f}"
    return Found(text, fall < 0.15, {"fall": fall, "with": p.preference.difference, "without": without})


def _circuit(p: Published) -> Found:
    only = m.MeanAblation(p.subject).only(p.cases, CIRCUIT).difference
    share = only / p.preference.difference
    text = f"{share:.0%}: {only:.2f} of {p.preference.difference:.2f}"
    return Found(text, 0.75 <= share <= 1, {"share": share, "circuit": only, "whole": p.preference.difference})


def _again(who: str, published: float) -> Callable[[Published], Found]:
    def measure(p: Published) -> Found:
        got = m.preference(p.subject, m.cases(p.subject, p.count, again=who))
        text = f"{got.difference:.2f} of {p.preference.difference:.2f}; S preferred {1 - got.share:.1%}"
        return Found(text, abs(got.difference - published) <= 1, vars(got))

    return measure


def _layers(p: Published) -> Found:
    written = p.direct.sum(1)
    early, nine, late = float(written[:7].abs().sum()), float(written[9]), float(written[10:].sum())
    holds = int(written.argmax()) == 9 and early < nine / 2 and late < 0
    numbers = {"layers 0 to 6": early, "layer 9": nine, "layers 10 and 11": late}
    return Found(", ".join(f"{where} {value:+.2f}" for where, value in numbers.items()), holds, numbers)


def _patched(part: str, which: tuple[Head, ...], most: int, needed: int) -> Callable[[Published], Found]:
    def measure(p: Published) -> Found:
        clean = p.cases[: max(1, p.count // 5)]
        tables = [m.patch_effects(p.subject, m.with_other_subject(p.subject, case), case, part) for case in clean]
        return _among(p, torch.stack(tables).nanmean(0).abs(), which, most, needed)

    return measure


def _induction(p: Published) -> Found:
    text, numbers = _values(tuple(INDUCTION), _at(p.repeats.induction))
    return Found(text, all(abs(numbers[name(head)] - value) <= 0.1 for head, value in INDUCTION.items()), numbers)


def _previous(p: Published) -> Found:
    ids = tuple(p.subject.ids(claims.FOX))
    table = m.attention(p.subject, [(ids, at, at - 1) for at in range(2, len(ids))])
    text, numbers = _values(((4, 11),), _at(table))
    return Found(text, numbers["4.11"] > 0.8, numbers)


def _suppression(p: Published) -> Found:
    got = m.rise(p.subject, claims.LOVE, " love", "zero L10H7")
    text = f'{got.before:.2f} to {got.after:.2f}; likeliest "{got.top_before}", then "{got.top_after}"'
    holds = got.after > got.before and got.top_after == " love"
    return Found(text, holds, {"before": got.before, "after": got.after})


def _greater(p: Published) -> Found:
    share = m.greater(p.subject, m.spans(p.subject, p.count))
    return Found(f"{share:.1%}", abs(share - 0.817) <= 0.05, {"difference": share})


def _years(p: Published) -> Found:
    given = m.spans(p.subject, p.count)
    length = min(len(span.ids) for span in given)
    at_year = m.attention(p.subject, [(span.ids, len(span.ids) - 1, span.at) for span in given])
    others = [
        m.attention(p.subject, [(span.ids, len(span.ids) - 1, key + (key >= span.at)) for span in given])
        for key in range(1, length - 1)
    ]
    most = torch.stack(others).amax(0)
    text, numbers = _values(YEAR_HEADS, _at(at_year))
    return Found(text, all(bool(at_year[head] > most[head]) for head in YEAR_HEADS), numbers)


def _sink(p: Published) -> Found:
    dimension = 447
    if p.subject.model.shape.d_model <= dimension:
        raise CannotMeasure(f"its residual stream has {p.subject.model.shape.d_model} dimensions")
    size = m.size(p.subject, claims.FOX, 6, dimension)
    return Found(f"{size:,.0f}", 1000 <= size <= 5000, {"size": size})


def _centring(p: Published) -> Found:
    probabilities = m.centring(p.subject, claims.FOX)
    return Found(f"largest change {probabilities:.1g}", probabilities <= 1e-5, {"probability": probabilities})


MEASURES: dict[str, Callable[[Published], Found]] = {
    "difference": _difference,
    "movers": _movers,
    "movers look": _movers_look,
    "correlation": _correlation,
    "copying": _copying,
    "negative": _negative,
    "inhibition": _inhibition,
    "kinds": _kinds,
    "knock-out": _knock_out,
    "circuit": _circuit,
    "IO twice": _again("io", 1.23),
    "S thrice": _again("s", 3.64),
    "layers": _layers,
    "patterns": _patched("pattern", ((5, 5), (6, 9), (3, 0), (9, 9), (10, 7), (11, 10)), 10, 4),
    "values": _patched("v", ((8, 6), (8, 10), (7, 9), (7, 3)), 6, 3),
    "induction": _induction,
    "previous": _previous,
    "suppression": _suppression,
    "greater": _greater,
    "years": _years,
    "sink": _sink,
    "centring": _centring,
}
