"""What is run before it is asked for: a source, where there is room, and texts that share a pass."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

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


WORDS = ("Mary", "John", "the store", "a drink to", "gave", "When Mary went to the", "and John")


def test_texts_of_one_length_share_a_pass_and_know_nothing_of_each_other(model: Model) -> None:
    texts = [tuple(model.encode(f"{one} {other}", "yes")) for one in WORDS for other in WORDS if one != other]
    texts = [(*ids[1:], ids[0]) for ids in texts]  # none begins as another
    lengths = Counter(map(len, texts))
    texts = [ids for ids in texts if lengths[len(ids)] > 1][:14]
    engine, alone = Engine(model).runner, Engine(model).runner
    passes: list[int] = []
    through = engine.forward.through

    def counted(residual: Tensor, *rest: Any, **more: Any) -> Any:
        passes.append(len(residual))
        return through(residual, *rest, **more)

    engine.forward.through = counted  # type: ignore[method-assign]
    long = (*texts[0], *texts[1])
    engine.run_together([*texts, long, texts[0]])
    assert len(set(map(len, texts))) > 1
    assert max(passes) > 1
    assert sum(passes) == len([each for each in set(texts) if engine.store.known(each, ()) is not None])
    assert engine.store.known(long, ()) is None, "it stands alone, and goes on from another"
    edit = Engine(model).open(session_of("zero L1H1", prompt="Mary")).hook_edits(0)
    for ids in filter(lambda each: engine.store.known(each, ()) is not None, set(texts)):
        made = engine.store.known(ids, ())
        alone.store.forget()
        wanted = alone.run(ids)
        for mine, its in zip(made.resid + made.z, wanted.resid + wanted.z, strict=True):
            torch.testing.assert_close(mine.whole, its.whole, atol=1e-4, rtol=1e-4)
        # What goes on from it is as what goes on from a run of its own: edited, and with more text.
        for more, edits in ((ids, edit), ((*ids, ids[-1]), ())):
            torch.testing.assert_close(
                engine.run(more, edits).resid[-1].whole, alone.run(more, edits).resid[-1].whole, atol=1e-4, rtol=1e-4
            )
