"""Memory runs out at any operation: one sentence, the other questions are answered, and the numbers stay right."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from mechtui.engine import cards, contexts
from mechtui.engine.model import Model
from mechtui.link.messages import Load
from mechtui.worker.models import load
from tests import folders
from tests.faults.engine import ERRORS, runs
from tests.faults.injector import Fault


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    folder = tmp_path_factory.mktemp("model")
    with pytest.MonkeyPatch.context() as patch:
        for each in (cards, contexts):
            patch.setattr(each, "cache_dir", lambda: folder / "cache")
        yield load(Load(str(folders.gpt2(folder)), device="cpu"), lambda *_: None, lambda: False, True)


@pytest.mark.parametrize("where", ERRORS)
def test_wherever_memory_runs_out_it_is_one_sentence_and_the_next_answers_are_right(where: str, model: Model) -> None:
    """At a few operations of thousands; `python -m tests.faults memory` takes all."""
    run = runs(model)
    last = Fault(1 << 60, ERRORS[where])
    run(last)
    dice = Random(where)
    for number in (1, *(dice.randrange(2, last.count) for _ in range(5))):
        fault = Fault(number, ERRORS[where])
        run(fault)
        assert fault.hit
