"""`python -m tests.faults [disk] [link] [memory] [kills] [stop] [row] [limit]`: all of them without a word.

Memory runs out at every 500th of 24,000 operations, which takes a few minutes; `--every 1` takes a day.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from tests.faults import keeping, link, stages
from tests.faults.injector import broken, full, until_green


def disk() -> None:
    for name, run in keeping.RUNS.items():
        for error in (broken, full):
            for lasts in (False, True):
                count = until_green(run, error, lasts=lasts)
                print(f"{name}, {error.__name__}{' from then on' * lasts}: {count} calls, nothing lost", flush=True)


def wire() -> None:
    for said in (None, b"", *link.GARBAGE):
        count = until_green(link.talks(said), broken)
        print(f"a read or write gives {'an error' if said is None else said[:16]}: {count} awaits, all answered")


def memory(every: int) -> None:
    """Operations of torch's, of all questions of one prompt."""
    from mechtui.engine import cards
    from mechtui.engine.contexts import kept as contexts
    from mechtui.link.messages import Load
    from mechtui.worker.models.load import load
    from tests import folders
    from tests.faults import engine

    with TemporaryDirectory() as folder:
        for each in (cards, contexts):
            each.cache_dir = lambda: Path(folder, "cache")  # type: ignore[attr-defined]
        model = load(Load(str(folders.gpt2(Path(folder))), device="cpu"), lambda *_: None, lambda: False, True)
        for name, error in engine.ERRORS.items():
            count = until_green(engine.runs(model), error, every=every)
            print(f"memory of {name} runs out at {count} operations: one sentence, right answers after it", flush=True)


RUNS: dict[str, Callable[[], None]] = {
    "disk": disk,
    "link": wire,
    **{name: lambda run=run: asyncio.run(run()) for name, run in stages.ALL.items()},  # type: ignore[misc]
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Put faults in one by one.")
    parser.add_argument("which", nargs="*", help=f"of {', '.join((*RUNS, 'memory'))}; without one: all")
    parser.add_argument("--every", type=int, default=500, help="memory runs out at each so many operations")
    asked = parser.parse_args()
    runs = {**RUNS, "memory": lambda: memory(asked.every)}
    if unknown := set(asked.which) - runs.keys():
        parser.error(f"there is no {' and no '.join(sorted(unknown))}")
    with TemporaryDirectory() as folder:
        homes = {f"XDG_{name}_HOME": f"{folder}/{name}" for name in ("CONFIG", "STATE", "CACHE", "DATA")}
        with patch.dict(os.environ, {**homes, "HF_HUB_OFFLINE": "1"}):
            for name in asked.which or runs:
                began = time.monotonic()
                runs[name]()
                print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
