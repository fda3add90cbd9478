"""A model that was read directly, compared behind its first answers: what is said when that cannot be, and what follows
where it is another model than transformers makes of the same files."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mechtui.engine.errors import ModelError
from mechtui.engine.forward.direct import DirectModel
from mechtui.link.messages import Checked, Failed, Load, Ready, Reply
from mechtui.worker import kept_checks
from mechtui.worker.check import Plain
from mechtui.worker.main import Worker
from mechtui.worker.models.loaded import LoadedModel, NoRoomError, OtherTokensError


class Wire:
    """heard: what was sent."""

    def __init__(self) -> None:
        self.heard: list[Reply] = []

    def send(self, reply: Reply, _number: int = 0) -> None:
        self.heard.append(reply)

    @property
    def said(self) -> list[Reply]:
        return [reply for reply in self.heard if isinstance(reply, Ready | Checked | Failed)]


@pytest.fixture
def loaded(
    gpt2_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Worker, Wire, LoadedModel]]:
    """A model process with that model, read directly, and what it has said."""
    monkeypatch.setattr(kept_checks, "cache_dir", lambda: tmp_path)

    def load(**options: Any) -> tuple[Worker, Wire, LoadedModel]:
        wire = Wire()
        worker = Worker(wire)  # type: ignore[arg-type]
        worker.load(Load(str(gpt2_folder), device="cpu", **options))
        assert isinstance(worker.read_directly, LoadedModel)
        return worker, wire, worker.read_directly

    return load


def check(worker: Worker) -> None:
    while not worker.prepared():
        assert worker.preparing is not None
        worker.preparing.join()
    worker.check()


def raising(error: Exception) -> Callable[[], Plain]:
    def make() -> Plain:
        raise error

    return make


def test_what_holds_is_said_and_kept(loaded: Any, tmp_path: Path, gpt2_folder: Path) -> None:
    worker, wire, _ = loaded()
    check(worker)
    ready, checked = wire.said
    assert isinstance(ready, Ready)
    assert checked == worker.checked
    assert isinstance(checked, Checked)
    assert checked.sentence == ""
    assert checked.differences.keys() == {"logits", "pattern", "z"}
    assert not worker.unchecked
    worker.load(Load(str(gpt2_folder), device="cpu"))
    assert wire.said[2:] == [wire.said[2], checked], "nothing is compared again"
    assert not worker.unchecked
    assert worker.read_directly is None


def test_where_there_is_no_room_for_the_weights_once_more_nothing_is_said_to_hold(
    loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, wire, model = loaded()
    monkeypatch.setattr(sys.modules["mechtui.worker.models.load"], "free", lambda _device: 0)
    with pytest.raises(NoRoomError):
        model.compared_with()
    check(worker)
    assert wire.said[1:] == [Checked(model.ready.name)]
    assert isinstance(worker.engine.model.bridge, DirectModel)
    assert not (tmp_path / "checked").exists()


def test_a_folder_that_transformers_cannot_read_is_compared_with_nothing_and_that_is_said(loaded: Any) -> None:
    worker, wire, model = loaded()
    model.compared_with = raising(ModelError("its tokenizer is broken"))
    check(worker)
    (checked,) = wire.said[1:]
    name = model.ready.name
    assert checked == Checked(
        name, sentence=f"Self-check: there is nothing to compare {name} with: its tokenizer is broken."
    )
    assert isinstance(worker.engine.model.bridge, DirectModel)


def test_a_tokenizer_that_reads_otherwise_has_the_bridge_loaded(loaded: Any) -> None:
    worker, wire, model = loaded()
    model.compared_with = raising(OtherTokensError())
    check(worker)
    assert isinstance(wire.said[-1], Ready)
    assert worker.unchecked
    assert not isinstance(worker.engine.model.bridge, DirectModel)
    check(worker)
    assert isinstance(wire.said[-1], Checked)
    assert wire.said[-1].differences.keys() == {"logits", "pattern", "z"}


def test_where_the_bridge_does_not_load_either_the_model_stays_and_is_not_trusted(
    loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, wire, model = loaded()
    model.compared_with = raising(OtherTokensError())
    monkeypatch.setattr(
        sys.modules["mechtui.worker.models.load"], "load", lambda *_: raising(ModelError("it cannot be taken apart"))()
    )
    check(worker)
    failed, checked = wire.said[1:]
    assert isinstance(failed, Failed)
    assert isinstance(checked, Checked)
    assert checked.sentence.startswith("Self-check: Hugging Face's own tokenizer reads texts otherwise")
    assert not worker.unchecked, "nobody waits for another verdict"
    assert isinstance(worker.engine.model.bridge, DirectModel)


@pytest.mark.parametrize(("dtype", "beside"), [("float32", True), ("bfloat16", False)])
def test_half_precision_is_not_read_beside_what_answers(loaded: Any, dtype: str, beside: bool) -> None:
    """While transformers reads it, it is torch's default type in all threads."""
    worker, wire, model = loaded(dtype=dtype)
    made, threads = model.compared_with, []

    def note() -> Plain:
        threads.append(threading.current_thread())
        plain: Plain = made()
        return plain

    model.compared_with = note
    check(worker)
    assert [thread is not threading.current_thread() for thread in threads] == [beside]
    assert wire.said[-1].sentence == ""
