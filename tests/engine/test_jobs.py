"""Every job of every view can be stopped, keeps what it has, and goes on to what it would have said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mechtui.engine.api import Cancelled, Engine
from mechtui.engine.model import Model
from mechtui.session.document import Session
from mechtui.views import Question, parse_question, specs
from mechtui.views.spec import Cost
from mechtui.views.toy import compute as toy_compute
from tests.engine.all_views import session_for
from tests.lines import lines_of, write_files

# What views that are no jobs measure on demand.
BEHIND = ("attribution measured", "composition K")
# Of a view whose first line needs more than a session has.
OTHERS = {"dose": "dose add L1.mid @3 t -2..2 step1"}


def jobs() -> list[str]:
    """Of every view that is a job a line, and one over the cases where it has one."""
    found = []
    for name, view in specs().items():
        if view.cost is Cost.JOB:
            lines = lines_of(name)
            found += [OTHERS.get(name, lines[0]), *[line for line in lines if line.endswith("over cases")][:1]]
    return [*found, *BEHIND]


class Asked:
    """A question on an engine. polls: how often it asked whether it is still wanted; said: its answers."""

    def __init__(self, engine: Engine, session: Session, question: Question, after: float = float("inf")) -> None:
        """after: so many polls it is stopped."""
        self.polls, self.stopped = 0, False
        self.said: list[Any] = []

        def cancelled() -> bool:
            self.polls += 1
            return self.polls > after

        opened = engine.open(session, cancelled, (question,))
        try:
            for clean, edited, _ in opened.answer(question):
                self.said.append([None if each is None else each.json() for each in (clean, edited)])
                opened.check_cancelled()
        except Cancelled:
            self.stopped = True


def close(one: Any, other: Any) -> bool:
    """Whether two answers say the same, numbers to rounding."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return bool(np.isclose(one, other, atol=1e-4, rtol=1e-4))
    return bool(one == other)


@pytest.mark.parametrize("line", jobs())
def test_it_stops_between_two_steps_and_goes_on_where_it_was(
    line: str, gpt2_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_files(tmp_path))
    monkeypatch.setattr("mechtui.engine.contexts.kept.cache_dir", lambda: tmp_path / "one")
    session, question = session_for(gpt2_model, "zero L0H1"), parse_question(line)
    # Batches of a few runs each, so that there is something between the first and the last.
    monkeypatch.setattr("mechtui.engine.variants.BATCH_TOKENS", 64)
    whole = Asked(Engine(gpt2_model), session, question)
    assert not whole.stopped
    assert whole.polls > 2
    monkeypatch.setattr("mechtui.engine.contexts.kept.cache_dir", lambda: tmp_path / "two")
    toy_compute._training.cache_clear()
    engine = Engine(gpt2_model)
    part = Asked(engine, session, question, whole.polls // 2)
    assert part.stopped, "it does not ask whether it is wanted"
    assert part.polls <= whole.polls // 2 + 2, "it went on after it was told to stop"
    # What is there stands on the screen, or need not be computed again.
    rest = Asked(engine, session, question)
    assert not rest.stopped
    assert len(part.said) > 0 or rest.polls < whole.polls
    assert close(json.loads(json.dumps(rest.said[-1])), json.loads(json.dumps(whole.said[-1])))
