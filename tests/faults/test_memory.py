"""Memory runs out at any operation: one sentence, the other questions are answered, and the numbers stay right."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random

import msgspec
import numpy as np
import pytest

from mechtui.engine import cards, contexts
from mechtui.engine.model import Model
from mechtui.link.messages import Failed, Finished, Load
from mechtui.worker.models import load
from tests import folders
from tests.faults.engine import ERRORS, Answering, runs, whole
from tests.faults.injector import Fault

FEW = ("next_tokens", "heads", "lens", "attribution", "sweep zero L*H*", "generate 8")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    folder = tmp_path_factory.mktemp("model")
    with pytest.MonkeyPatch.context() as patch:
        for each in (cards, contexts):
            patch.setattr(each, "cache_dir", lambda: folder / "cache")
        yield load(Load(str(folders.gpt2(folder)), device="cpu"), lambda *_: None, lambda: False, True)


def test_wherever_memory_runs_out_it_is_one_sentence_and_the_next_answers_are_right(model: Model) -> None:
    """At a few operations of thousands; `python -m tests.faults memory` takes all."""
    run = runs(model, FEW)
    last = Fault(1 << 60, MemoryError)
    run(last)
    dice = Random(3)
    for error in ERRORS.values():
        for number in (dice.randrange(1, last.count), dice.randrange(1, last.count)):
            fault = Fault(number, error)
            run(fault)
            assert fault.hit


def test_a_run_that_gives_no_numbers_is_one_sentence_whatever_is_asked(model: Model) -> None:
    replies = Answering(model, FEW).ask("scale L1.pre x3e38", "scale L1.pre x3e38")
    assert isinstance(replies[-1], Finished)
    failed = [reply for reply in replies if isinstance(reply, Failed)]
    assert len(failed) > 3
    (sentence,) = {reply.sentence for reply in failed}
    assert "not finite from layer 1 on" in sentence
    assert not any(math.isinf(value) for value in _floats(list(whole(replies).values())))


def _floats(value: object) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
        yield from value.flat
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _floats(each)
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _floats(getattr(value, name))
