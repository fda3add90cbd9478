"""For developers: `pytest tests/benchmarks --benchmark-enable` times the engine's paths on GPT-2 small's shape."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from mechtui.bench.subject import Subject, ask, random_subject
from mechtui.session.document import Session
from mechtui.session.grammar.edits import parse_edit


@pytest.fixture(scope="module")
def subject() -> Subject:
    return random_subject("cpu")


@pytest.mark.parametrize("layer", [0, 6, 11])
def test_toggle(benchmark: Callable[..., Any], subject: Subject, layer: int) -> None:
    text, numbers = subject.text(32), count(1)
    ask(subject.engine, Session(prompt=text))

    def toggle() -> Any:
        edit = parse_edit(f"scale L{layer}H3 x{next(numbers) / 100!r}")
        return ask(subject.engine, Session(prompt=text, edits=(edit,)))

    assert benchmark(toggle).ran == f"blocks {layer}..11"


def test_append(benchmark: Callable[..., Any], subject: Subject) -> None:
    text, numbers = subject.text(128), count(1)
    ask(subject.engine, Session(prompt=text))
    opened = benchmark(lambda: ask(subject.engine, Session(prompt=f"{text} w{next(numbers)}")))
    assert opened.ran == "blocks 0..11 at 128..128"


def test_zero_sweep(benchmark: Callable[..., Any], subject: Subject) -> None:
    text = subject.text(16)
    session = Session(prompt=text, answer="w1", foil="w2")
    # Cells that are known are not computed again.
    opened = benchmark(lambda: (subject.engine.forget(), ask(subject.engine, session, ("sweep zero L*H*",)))[1])
    assert not opened.problems
