"""Where neurons or features fire most: a text is read once for all of them, and these are picked from what is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mechtui.engine.api import Answers, Need, OpenSession, Scan, SessionError
from mechtui.none import NONE
from mechtui.session.document import Site, Span
from mechtui.views.contexts import BINS, ENDS, KEPT, SAMPLES, Context, Contexts, ContextsAnswer
from mechtui.views.features import FeaturesAnswer
from mechtui.views.neurons import NeuronsAnswer

# Answers on the way; the last comes when all is read.
PARTS = 40

# (layer, neuron), or (0, feature): in which group of the reading, and which of it.
Pick = tuple[int, int]


def needs(question: Contexts, opened: OpenSession) -> list[Need]:
    return [] if question.names else opened.needs_of(question.listed)


def answers(question: Contexts, opened: OpenSession) -> Answers:
    if not question.sae:
        opened.check_site(Site("neuron", Span(0, 0), Span(0, 0)))
    picks = _picks(question, opened)
    reading = opened.contexts(question.file, question.window, question.sae)
    if question.end == "lowest":
        _check_lowest(question, opened)
    told = 0
    if question.known or reading.done:
        yield _answer(question, opened, reading, picks), None, False
        return
    for now in _read(opened, reading):
        if now.done or now.read - told >= now.text.windows / PARTS:
            told = now.read
            yield _answer(question, opened, now, picks), None, not now.done


def _check_lowest(question: Contexts, opened: OpenSession) -> None:
    """Raises SessionError."""
    if question.sae:
        raise SessionError("no feature is below 0: leave lowest out")
    if not opened.mlp(0).gated:
        name = opened.ready.name
        raise SessionError(f"the neurons of {name} have no gate, so that none is far below 0: leave lowest out")


def _read(opened: OpenSession, reading: Scan) -> Iterator[Scan]:
    if reading.read:
        yield reading
    yield from opened.read_contexts(reading)


def _picks(question: Contexts, opened: OpenSession) -> Sequence[Pick]:
    """Raises SessionError."""
    if question.neurons:
        for layer, neuron in question.neurons:
            opened.check_site(Site("neuron", Span(layer, layer), Span(neuron, neuron)))
        return question.neurons
    if question.features:
        count = opened.dictionary(question.sae).n_features
        for feature in question.features:
            if feature >= count:
                raise SessionError(f"{question.sae}F{feature} is none: {question.sae} has {count:,} features")
        return [(0, feature) for feature in question.features]
    clean, _, _ = next(opened.answer(question.listed))
    if isinstance(clean, FeaturesAnswer):
        return [(0, feature) for feature in clean.features.tolist()]
    assert isinstance(clean, NeuronsAnswer)
    return list(zip(clean.layers.tolist(), clean.neurons.tolist(), strict=True))


def _answer(question: Contexts, opened: OpenSession, reading: Scan, picks: Sequence[Pick]) -> ContextsAnswer:
    end, counted, count = ENDS.index(question.end), reading.counted, len(picks)
    rate = np.full(count, NONE, dtype=np.float32)
    value, gate, into = (np.full((count, KEPT), NONE, dtype=np.float32) for _ in range(3))
    histogram, width = np.zeros((count, BINS), dtype=np.float32), np.full(count, NONE, dtype=np.float32)
    contexts: list[tuple[Context, ...]] = []
    gated = False
    for row, (group, unit) in enumerate(picks):
        if not reading.found:
            contexts.append(())
            continue
        found = reading.found[group]
        places = found.places[end, unit].numpy()
        contexts.append(tuple(_context(opened, reading, place) for place in places[places >= 0].tolist()))
        rate[row] = int(found.on[unit]) / counted if counted else NONE
        value[row] = np.where(places >= 0, found.values[end, unit].numpy(), np.float32(NONE))
        histogram[row] = found.counts[end, unit].numpy()
        if histogram[row].any():
            width[row] = 2.0 ** int(found.reach[end, unit]) / BINS
        gated = "gate" in found.more
        if gated:
            gate[row] = np.where(places >= 0, found.more["gate"][end, unit].numpy(), np.float32(NONE))
            into[row] = np.where(places >= 0, found.more["into"][end, unit].numpy(), np.float32(NONE))
    labels = opened.labels(question.sae) if question.sae else {}
    return ContextsAnswer(
        question.file or SAMPLES,
        counted,
        reading.tokens,
        reading.text.window,
        tuple(f"{question.sae}F{unit}" if question.sae else f"L{group}N{unit}" for group, unit in picks),
        rate,
        value,
        tuple(contexts),
        histogram,
        width,
        tuple(labels.get(unit, "") if question.sae else "" for _, unit in picks),
        gate=gate if gated else None,
        into=into if gated else None,
        sae=question.sae,
        note=reading.note,
    )


def _context(opened: OpenSession, reading: Scan, place: int) -> Context:
    found = reading.text.context(place)
    return Context(
        opened.decoded(found.before), opened.token(found.id), opened.decoded(found.after), opened.decoded(found.text)
    )
