"""A head's circuits over the vocabulary: what is largest in them, by name."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from mechtui.engine.api import Answers, HeadCircuit, Need, OpenSession, SessionError
from mechtui.session.document import Token
from mechtui.views.circuit import (
    DIRECTIONS,
    EACH,
    TOP,
    TRIGRAMS,
    Circuit,
    CircuitAnswer,
    Direction,
    Scored,
    Trigram,
)


def needs(question: Circuit, opened: OpenSession) -> list[Need]:
    return []


def answers(question: Circuit, opened: OpenSession) -> Answers:
    shape = opened.shape
    if question.layer >= shape.n_layers or question.head >= shape.n_heads:
        there = f"its layers are 0 to {shape.n_layers - 1}, its heads 0 to {shape.n_heads - 1}"
        raise SessionError(f"{opened.ready.name} has no L{question.layer}H{question.head}: {there}")
    circuit = opened.circuit(question.layer, question.head)
    match question.what:
        case "trigrams":
            answer = _trigrams(opened, circuit)
        case "directions":
            answer = _directions(opened, circuit)
        case _:
            answer = _word(opened, circuit, _id(question, opened))
    yield answer, None, False


def _id(question: Circuit, opened: OpenSession) -> int:
    """The token that is asked about. Raises SessionError."""
    if not question.word:
        return opened.ids[opened.position(question.position)]
    return opened.single(question.word, "the word of a circuit")


def _word(opened: OpenSession, circuit: HeadCircuit, id: int) -> CircuitAnswer:
    raised = circuit.raises(id)
    return CircuitAnswer(
        "word",
        opened.token(id),
        attends=_best(opened, circuit.attends(id)),
        attended=_best(opened, circuit.attended(id)),
        raises=_best(opened, raised),
        lowers=_best(opened, raised, -1),
        raised_by=_best(opened, circuit.raised_by(id)),
        own=float(raised[id]),
        rank=int((raised > raised[id]).sum()),
    )


def _trigrams(opened: OpenSession, circuit: HeadCircuit) -> CircuitAnswer:
    found = circuit.trigrams(TRIGRAMS, EACH, opened.cancelled, opened.progress)
    rows = (
        Trigram(opened.token(each.source), _named(opened, each.destinations), _named(opened, each.outs), each.value)
        for each in found
    )
    return CircuitAnswer("trigrams", trigrams=tuple(rows))


def _directions(opened: OpenSession, circuit: HeadCircuit) -> CircuitAnswer:
    found = []
    for kind in ("OV", "QK"):
        opened.check_cancelled()
        for number, each in enumerate(circuit.directions(kind, DIRECTIONS)):
            ends = (each.reads, each.writes, -each.reads, -each.writes)
            named = (_named(opened, end.topk(min(EACH, len(end))).indices.tolist()) for end in ends)
            found.append(Direction(kind, number, each.size, each.share, *named))
    return CircuitAnswer("directions", directions=tuple(found))


def _best(opened: OpenSession, values: Tensor, sign: int = 1) -> tuple[Scored, ...]:
    """The largest (with -1: the smallest), the furthest first."""
    ids = (values * sign).topk(min(TOP, len(values))).indices.tolist()
    return tuple(Scored(opened.token(id), float(values[id])) for id in ids)


def _named(opened: OpenSession, ids: Iterable[int]) -> tuple[Token, ...]:
    return tuple(opened.token(id) for id in ids)
