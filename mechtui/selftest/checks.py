"""What is expected of which model: lines of expected, measured, verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch

from mechtui.embedded import DICTIONARIES, labels
from mechtui.embedded.reading import read
from mechtui.selftest import features, heads, indirect_object, skills
from mechtui.selftest.compare import Comparison
from mechtui.selftest.published import Published
from mechtui.selftest.subject import CannotMeasure, Subject


@dataclass(frozen=True)
class Check:
    """One line of the table. `passed` None: measured for the record, nothing is expected, or it cannot be measured.
    number, source: of a published claim, 0 and empty for others. numbers: what `measured` says, by name."""

    what: str
    expected: str
    measured: str
    passed: bool | None
    number: int = 0
    source: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)


def at_least(what: str, value: float, bound: float, detail: str = "", digits: int = 2) -> Check:
    return Check(what, f">= {bound:g}", _with(f"{value:.{digits}f}", detail), value >= bound)


def at_most(what: str, value: float, bound: float, detail: str = "", digits: int = 2) -> Check:
    return Check(what, f"<= {bound:g}", _with(f"{value:.{digits}f}", detail), value <= bound)


def noted(what: str, measured: str) -> Check:
    return Check(what, "", measured, None)


def _with(value: str, detail: str) -> str:
    return f"{value}  ({detail})" if detail else value


def head_name(head: heads.Head) -> str:
    return f"L{head[0]}H{head[1]}"


def any_model(subject: Subject) -> Iterator[Check]:
    """What can be measured on every model; nothing is expected."""
    try:
        yield from _scores(subject, heads.repeat_scores(subject))
    except CannotMeasure as reason:
        yield noted("random repeats", f"not measured: {reason}")
    what = "IOI: accuracy, logit difference"
    try:
        held = indirect_object.prompts(subject, indirect_object.held_pairs, 100, seed=0)
    except CannotMeasure as reason:
        yield noted(what, f"not measured: {reason}")
    else:
        result = indirect_object.accuracy(subject, held)
        yield noted(what, f"{result.accuracy:.0%}, {result.difference:.2f}")


def _scores(subject: Subject, scores: heads.RepeatScores) -> Iterator[Check]:
    for what, table in (
        ("induction", scores.induction),
        ("previous token", scores.previous),
        ("duplicate token", scores.duplicate),
    ):
        order = table.flatten().argsort(descending=True)[:5].tolist()
        named = [divmod(int(i), subject.n_heads) for i in order]
        listed = ", ".join(f"{head_name(h)} {table[h]:.2f}" for h in named)
        yield noted(f"{what}: highest scores", listed)
    lengths = ", ".join(map(str, scores.lengths))
    losses = f"{scores.first_half:.2f}, {scores.second_half:.3f} nats"
    yield noted(f"random repeats of {lengths} tokens: loss of first, second half", losses)


def demo(subject: Subject) -> Iterator[Check]:
    """The card of `demo`."""
    yield at_most("load and first answer, seconds", subject.load_seconds, 1.0)
    pairs = indirect_object.prompts(subject, indirect_object.held_pairs, 400, seed=0)
    result = indirect_object.accuracy(subject, pairs)
    yield at_least("IOI, held-out pairs: accuracy", result.accuracy, 0.98, digits=3)
    yield at_least("IOI, held-out pairs: logit difference", result.difference, 3.0)
    templates = indirect_object.prompts(subject, indirect_object.held_templates, 400, seed=0)
    result = indirect_object.accuracy(subject, templates)
    yield at_least("IOI, held-out templates: accuracy", result.accuracy, 0.85, digits=3)
    yield at_least("IOI, held-out templates: logit difference", result.difference, 3.0)
    yield from _mover(subject, pairs)

    scores = heads.repeat_scores(subject)
    yield from _repeats(subject, scores)

    yield at_least("agreement across a distractor", skills.agreement(subject), 0.97, digits=3)
    yield at_least("capitals, held-out phrasings", skills.capitals(subject), 0.90, digits=3)
    for order, share in skills.orders(subject).items():
        yield at_least(f"orders: {order}", share, 0.95, digits=3)
    yield from steering(subject)
    yield from dictionaries(subject)


def _mover(subject: Subject, pairs: indirect_object.Prompts) -> Iterator[Check]:
    """A head that attends from the end to the name, and is among the three largest contributions."""
    found = indirect_object.movers(subject, pairs)
    candidates = [
        (layer, head)
        for layer in range(subject.n_layers)
        for head in range(subject.n_heads)
        if found.rank(f"L{layer}H{head}") <= 3
    ]
    best = max(candidates, key=lambda h: float(found.attention[h]), default=None)
    top = sorted(found.contribution.items(), key=lambda item: -item[1])[:3]
    listed = ", ".join(f"{name} {value:+.2f}" for name, value in top)
    what = "name mover: attention from END to IO"
    if best is None:
        yield Check(what, ">= 0.3", f"no head among the three largest: {listed}", False)
        return
    yield at_least(what, float(found.attention[best]), 0.3, f"{head_name(best)}; largest: {listed}")


def _repeats(subject: Subject, scores: heads.RepeatScores) -> Iterator[Check]:
    ratio = scores.second_half / scores.first_half
    yield at_most(
        "random repeats: second-half loss / first-half loss",
        ratio,
        0.1,
        f"{scores.second_half:.3f} / {scores.first_half:.2f}",
        digits=3,
    )
    inductor, induction = scores.best(scores.induction)
    yield at_least("best induction score", induction, 0.8, head_name(inductor))
    early = scores.previous.clone()
    early[inductor[0] :] = -1  # an earlier layer
    shifter, previous = scores.best(early)
    yield at_least("previous-token head in an earlier layer", previous, 0.6, head_name(shifter))
    compositions = heads.k_composition(subject)
    inductors = [tuple(h) for h in (scores.induction > 0.4).nonzero().tolist()]
    later = [h for h in inductors if h[0] > shifter[0]]
    mean = float(compositions.nanmean())
    best = max((float(compositions[(*shifter, *h)]) for h in later), default=0.0)
    yield at_least("its K-composition with an induction head / mean of all pairs", best / mean, 1.0)
    whole, without = heads.loss_without(subject, [(h[0], h[1]) for h in inductors])
    yield at_least(
        "second-half loss without the induction heads / with them",
        without / whole,
        10.0,
        f"{without:.2f} / {whole:.3f}; {len(inductors)} heads",
        digits=1,
    )


STEER_LAYER = 2


def steering(subject: Subject, layer: int = STEER_LAYER) -> Iterator[Check]:
    """A vector of moods at coefficients -2, 0 and 2."""
    vector = skills.mood_vector(subject, layer)
    plain = skills.steer(subject, vector, layer, 0.0)
    sad = skills.steer(subject, vector, layer, -2.0)
    happy = skills.steer(subject, vector, layer, 2.0)
    yield noted(f"mood vector at L{layer}.pre: positive share at 0", f"{plain.happy:.2f}")
    yield at_most("positive share at -2", sad.happy, 0.15)
    yield at_least("positive share at 2", happy.happy, 0.85)
    worst = max(sad.loss, happy.loss)
    yield at_most(
        "steered text, loss of the unsteered model / that of its own text",
        worst / plain.loss,
        2.0,
        f"{worst:.2f} / {plain.loss:.2f} nats",
    )


# Rows of 256 tokens that dictionaries are measured on here; their cards have more.
DICTIONARY_ROWS = 32
DICTIONARY_SEED = 3


def dictionaries(subject: Subject) -> Iterator[Check]:
    """The dictionaries of features that travel with the model, on text of the same generator that nobody saw."""
    text = read(subject.tokenizer.backend_tokenizer, seed=DICTIONARY_SEED, rows=DICTIONARY_ROWS)
    for name, folder in DICTIONARIES[subject.name].items():
        made = features.read_dictionary(name, folder)
        found = features.measure(subject, made, text, losses_of=DICTIONARY_ROWS // 2)
        yield at_most(f"{name}: features on at a token", found.l0, 40, digits=1)
        yield at_least(f"{name}: variance explained", found.explained, 0.9, digits=3)
        yield at_least(
            f"{name}: loss recovered",
            found.recovered,
            0.95,
            f"{found.clean:.3f} nats, with it in place {found.replaced:.3f}, with zeros {found.zeroed:.2f}",
            digits=3,
        )
        written = labels.load(folder / labels.FILE)
        held = [one for one in features.held_labels(subject, written, found.on, text) if labels.often(one)]
        right = sum(map(labels.earned, held))
        yield at_least(
            f"{name}: share of its labels that are right at over 80 % of places",
            right / max(1, len(held)),
            0.9,
            f"{right} of {len(held)} that are often on here; {len(written)} in all",
        )
        if not made.transcodes:
            clamped = features.clamp_names(subject, made, written)
            yield at_least(
                f"{name}: a name's feature clamped: its logit rises",
                clamped.rises,
                0.9,
                f"{clamped.mean:+.2f} in the mean of {clamped.features} names; most of all names: {clamped.most:.0%}",
            )


def attention_only(subject: Subject) -> Iterator[Check]:
    """Induction needs two layers."""
    scores = heads.repeat_scores(subject)
    best, score = scores.best(scores.induction)
    if subject.n_layers == 1:
        yield at_most("best induction score", score, 0.3, head_name(best))
    else:
        yield at_least("best induction score", score, 0.7, head_name(best))
    yield at_most("load and first answer, seconds", subject.load_seconds, 1.0)


def published_claims(subject: Subject) -> Iterator[Check]:
    """What papers say of GPT-2 small."""
    try:
        every = Published(subject).every()
    except CannotMeasure as reason:
        yield noted("published claims", f"not measured: {reason}")
        return
    for number, (claim, found) in enumerate(every, 1):
        yield Check(claim.what, claim.published, found.text, found.holds, number, claim.source, found.numbers)


def beside_plain(subject: Subject) -> Iterator[Check]:
    """mechtui's numbers beside Hugging Face's own modules with plain hooks."""
    try:
        for outcome in Comparison(subject).outcomes():
            numbers = {"difference": outcome.difference, "tolerance": outcome.tolerance, "compared": outcome.compared}
            yield Check(f"as Hugging Face: {outcome.what}", "equal", outcome.text, outcome.holds, numbers=numbers)
    except CannotMeasure as reason:
        yield noted("as Hugging Face", f"not compared: {reason}")


def for_model(subject: Subject, *, published: bool = False) -> Iterator[Check]:
    """The checks that fit a model, by its name; published: also what papers say of GPT-2 small."""
    checks: dict[str, Callable[[Subject], Iterator[Check]]] = {
        "demo": demo,
        "attn-only-1l": attention_only,
        "attn-only-2l": attention_only,
    }
    with torch.no_grad():
        if subject.name in checks:
            yield from checks[subject.name](subject)
        if published:
            yield from published_claims(subject)
        yield from any_model(subject)
        yield from beside_plain(subject)
