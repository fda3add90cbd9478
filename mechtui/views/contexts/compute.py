"""Where neurons fire most: a text is read once for all neurons, and these are picked from what is known of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mechtui.engine.api import Answers, Need, OpenSession, Scan, SessionError
from mechtui.none import NONE
from mechtui.session.document import Site, Span
from mechtui.views.contexts import ENDS, SAMPLES, Context, Contexts, ContextsAnswer
from mechtui.views.neurons import NeuronsAnswer

# Answers on the way; the last comes when all is read.
PARTS = 40

# (layer, neuron)
Pick = tuple[int, int]


def needs(question: Contexts, opened: OpenSession) -> list[Need]:
    return [] if question.neurons else opened.needs_of(question.listed)


def answers(question: Contexts, opened: OpenSession) -> Answers:
    opened.check_site(Site("neuron", Span(0, 0), Span(0, 0)))
    picks = _picks(question, opened)
    reading = opened.contexts(question.file, question.window)
    if question.end == "lowest" and not opened.mlp(0).gated:
        name = opened.ready.name
        raise SessionError(f"the neurons of {name} have no gate, so that none is far below 0: leave lowest out")
    told = 0
    if question.known or reading.done:
        yield _answer(question, opened, reading, picks), None, False
        return
    for now in _read(opened, reading):
        if now.done or now.read - told >= now.windows / PARTS:
            told = now.read
            yield _answer(question, opened, now, picks), None, not now.done


def _read(opened: OpenSession, reading: Scan) -> Iterator[Scan]:
    if reading.read:
        yield reading
    yield from opened.read_contexts(reading)


def _picks(question: Contexts, opened: OpenSession) -> Sequence[Pick]:
    if question.neurons:
        for layer, neuron in question.neurons:
            opened.check_site(Site("neuron", Span(layer, layer), Span(neuron, neuron)))
        return question.neurons
    *_, (clean, _, _) = opened.answer(question.listed)
    assert isinstance(clean, NeuronsAnswer)
    return list(zip(clean.layers.tolist(), clean.neurons.tolist(), strict=True))


def _answer(question: Contexts, opened: OpenSession, reading: Scan, picks: Sequence[Pick]) -> ContextsAnswer:
    end, counted, front = ENDS.index(question.end), reading.counted(reading.read), len(reading.front)
    rates, values, gates, intos = [], [], [], []
    contexts: list[tuple[Context, ...]] = []
    for number, neuron in picks:
        if not reading.layers:
            contexts.append(())
            continue
        layer = reading.layers[number]
        places = [place for place in layer.places[end, neuron].tolist() if place >= 0]
        contexts.append(tuple(_context(opened, reading, place) for place in places))
        rates.append(float(layer.on[neuron]) / counted if counted else NONE)
        there = layer.places[end, neuron].numpy() >= 0
        values.append(np.where(there, layer.values[end, neuron].numpy(), np.float32(NONE)))
        if layer.gate is not None and layer.into is not None:
            gates.append(np.where(there, layer.gate[end, neuron].numpy(), np.float32(NONE)))
            intos.append(np.where(there, layer.into[end, neuron].numpy(), np.float32(NONE)))
    none = np.zeros((len(picks), 0), dtype=np.float32)
    return ContextsAnswer(
        question.file or SAMPLES,
        counted,
        reading.counted(reading.windows),
        reading.body + front,
        np.array([layer for layer, _ in picks], dtype=np.int32),
        np.array([neuron for _, neuron in picks], dtype=np.int32),
        np.array(rates or np.full(len(picks), NONE), dtype=np.float32),
        np.stack(values) if values else none,
        tuple(contexts),
        gate=np.stack(gates) if gates else None,
        into=np.stack(intos) if intos else None,
    )


def _context(opened: OpenSession, reading: Scan, place: int) -> Context:
    found = reading.context(place)
    return Context(
        opened.decoded(found.before), opened.token(found.id), opened.decoded(found.after), opened.decoded(found.text)
    )
