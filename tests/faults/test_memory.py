"""Memory runs out at any operation: one sentence, the other questions are answered, and the numbers stay right."""

from __future__ import annotations

import errno
import math
import resource
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec
import numpy as np
import pytest
import torch

from mechtui.engine import cards, memory
from mechtui.engine.contexts import kept as contexts
from mechtui.engine.model import Model
from mechtui.link.messages import Failed, Finished, Load
from mechtui.worker.main import out_of_memory
from mechtui.worker.models.load import load
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
    """At a few operations of thousands; `python -m tests.faults memory --every 1` takes all."""
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


def test_what_is_free_is_what_the_narrowest_limit_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system, own = tmp_path / "cgroup", tmp_path / "own"
    own.write_text("0::/job/step\n")
    for group, most, holds, files in (("", "max", 9, 0), ("job", 4000, 1500, 500), ("job/step", "max", 1000, 0)):
        folder = system / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "memory.max").write_text(f"{most}\n")
        (folder / "memory.current").write_text(f"{holds}\n")
        (folder / "memory.stat").write_text(f"anon 7\ninactive_file {files}\n")
    assert list(memory._of_groups(system, own)) == [4000 - 1500 + 500]
    assert list(memory._of_groups(system, tmp_path / "none")) == []
    holds = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    monkeypatch.setattr(resource, "getrlimit", lambda _: (holds + 10**7, resource.RLIM_INFINITY))
    assert abs(memory.free_on_cpu() - 10**7) < 5 * 10**6


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RuntimeError("DefaultCPUAllocator: you tried to allocate 4194304 bytes. Error code 12"), "4.2 MB more"),
        (RuntimeError("could not create a primitive"), "Out of memory: more was needed and "),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "Out of memory: more was needed and "),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), "in the device's memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. 1.50 GiB is free."), "1.50 GiB are free"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
        (OSError(errno.ENOSPC, "No space left on device"), None),
    ],
)
def test_what_is_said_when_memory_runs_out(error: Exception, sentence: str | None) -> None:
    said = out_of_memory(error)
    assert said is None if sentence is None else sentence in (said or "")
