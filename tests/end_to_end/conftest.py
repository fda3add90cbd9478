"""One small checkpoint for all tests of this folder, and the program as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tiny import make

# What a shell's background jobs ignore, and what they start would.
IGNORED = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)

Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def _signals_reach_what_is_started() -> Iterator[None]:
    """Tests that run in the background end their programs by ctrl+c as others do."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in IGNORED}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint."""
    return make(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def home(tmp_path: Path, shared_cache: Path) -> dict[str, str]:
    """An environment with folders of its own and no network. What the program works out once for a model (SmolLM2's
    weights, verdicts of the self-check, head cards) all tests of this run share, in one cache."""
    folders = {f"XDG_{name}_HOME": str(tmp_path / name.lower()) for name in ("CONFIG", "STATE", "DATA")}
    return {**os.environ, **folders, "XDG_CACHE_HOME": str(shared_cache), "HF_HUB_OFFLINE": "1"}


@pytest.fixture
def mechtui(home: dict[str, str]) -> Program:
    """Run `mechtui ARGUMENTS` to its end."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mechtui", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False, env=home)

    return run
