"""The source is run before a patch asks for it, where there is room."""

from __future__ import annotations

import pytest

from mechtui.engine.api import Cancelled, Engine, OpenSession
from mechtui.engine.model import Model
from tests.engine.twin import PROMPT, SOURCE, session_of


def answered(engine: Engine, source: str = SOURCE, cancelled: bool = False) -> OpenSession:
    opened = engine.open(
        session_of(source=source), cancelled=lambda: cancelled and engine.runner.store.known(opened.ids, ()) is not None
    )
    opened.clean.logits()
    return opened


def test_the_source_is_there_when_a_patch_asks_for_it(gpt2_model: Model) -> None:
    engine = Engine(gpt2_model)
    opened = answered(engine)
    assert engine.runner.store.known(opened.source_ids, ()) is None
    opened.run_ahead()
    trace = engine.runner.store.known(opened.source_ids, ())
    assert trace is not None
    answered(engine).run_ahead()
    assert engine.runner.store.known(opened.source_ids, ()) is trace


def test_without_a_source_nothing_runs(gpt2_model: Model) -> None:
    engine = Engine(gpt2_model)
    answered(engine, source="").run_ahead()
    assert len(engine.runner.store) == 1


def test_what_was_run_stays_when_there_is_no_room_for_it(gpt2_model: Model) -> None:
    engine = Engine(gpt2_model)
    opened = answered(engine)
    engine.runner.store.budget = engine.trace_bytes
    opened.run_ahead()
    assert engine.runner.store.known(opened.source_ids, ()) is None
    assert engine.runner.store.known(opened.ids, ()) is not None


def test_it_gives_way_to_what_is_asked_for(gpt2_model: Model) -> None:
    engine = Engine(gpt2_model)
    opened = answered(engine, source=PROMPT + " and", cancelled=True)
    with pytest.raises(Cancelled):
        opened.run_ahead()
    assert engine.runner.store.known(opened.source_ids, ()) is None
