"""Tiny models for all tests of the model process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from mechtui.link.messages import Load
from mechtui.worker.engine import written
from mechtui.worker.model import Model
from mechtui.worker.models import load
from tests import folders


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.gpt2(tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.llama(tmp_path_factory.mktemp("llama"))


def load_now(name: str | Path, **options: object) -> Model:
    return load(Load(str(name), device="cpu", **options), lambda *_: None, lambda: False)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def gpt2_model(gpt2_folder: Path) -> Model:
    return load_now(gpt2_folder)


@pytest.fixture(scope="session")
def llama_model(llama_folder: Path) -> Model:
    return load_now(llama_folder)


@pytest.fixture(scope="module", params=["written out", "the bridge's"])
def blocks(request: pytest.FixtureRequest) -> Iterator[str]:
    """Which blocks engines run that are made within: the same tests hold for both."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "the bridge's":
            patch.setattr(written, "KINDS", {})
        yield request.param


def inner(bridged: Any) -> Any:
    """The module that a part of the bridge wraps: it runs whoever runs the block."""
    return bridged.original_component
