"""What holds for all tests."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import textual.app
import textual.pilot
from hypothesis import settings

# How long an example takes says more of the machine than of the program.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


async def _until_nothing_is_due(min_sleep: float = 0, max_sleep: float = 1) -> None:
    """Waits until the event loop has no turn to give to anybody; a clock decides nothing here."""
    loop = asyncio.get_running_loop()
    end, still = loop.time() + max_sleep, 0
    while still < 3 and loop.time() < end:
        await asyncio.sleep(0)
        still = 0 if loop._ready else still + 1  # type: ignore[attr-defined]


# Textual's pilot waits until the processor is idle, and these tests ask it a hundred thousand times.
textual.app.wait_for_idle = textual.pilot.wait_for_idle = _until_nothing_is_due

# A locale without UTF-8 means a terminal that shows ASCII only.
os.environ["LC_ALL"] = "C.UTF-8"

# Hundreds of processes are started: what one of them has compiled, the next need not.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# What is copied in a test is not for whoever runs the tests in tmux.
for name in ("TMUX", "STY"):
    os.environ.pop(name, None)

TESTS = Path(__file__).parent
# In this order: what takes longest comes first, so that nobody is left alone with it in the end.
FIRST = ("engine/test_parity_smollm2", "end_to_end", "engine/test_export", "engine/test_published", "engine", "grid")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests first; else the order stays."""

    def rank(item: pytest.Item) -> int:
        place = item.path.relative_to(TESTS).as_posix() if item.path.is_relative_to(TESTS) else ""
        return next((at for at, folder in enumerate(FIRST) if place.startswith(folder)), len(FIRST))

    items.sort(key=rank)


def pytest_xdist_auto_num_workers() -> int:
    """With `-n auto` one worker more than there are cores: many tests wait for processes that they started."""
    return (os.cpu_count() or 1) + 1


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Within, no other worker of this run is here."""
    with place.open("w") as lock:
        flock(lock, LOCK_EX)
        yield


Typed = Callable[..., CompletedProcess[str]]


@pytest.fixture
def typed(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Typed:
    """`mechtui ARGUMENTS` typed, in this process: for what is refused before anything is loaded or started."""
    from mechtui.cli import main

    def run(*arguments: str) -> CompletedProcess[str]:
        capfd.readouterr()
        status: object = 0
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["mechtui", *arguments])
            for name in ("stdout", "stderr"):  # the program puts its own in their places
                patch.setattr(sys, name, getattr(sys, name))
            try:
                main()
            except SystemExit as end:
                status = end.code or 0
        assert isinstance(status, int)
        return CompletedProcess(arguments, status, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of this run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def shared_cache(shared: Path) -> Path:
    """A cache (XDG_CACHE_HOME) that all workers of this run share."""
    return shared / "cache-of-all"


@pytest.fixture(scope="session")
def smollm2_cache(shared: Path, shared_cache: Path) -> Path:
    """The shared cache, and SmolLM2 stands dequantised in it: that takes half a minute, once a run."""
    from mechtui.worker.models.gguf import dequantised
    from mechtui.worker.models.names import place

    with alone(shared / "smollm2.lock"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        dequantised(place("smollm2").path, lambda *_: None)
    return shared_cache
