"""From a key to new numbers on the screen: the app itself, its model process beside it, on a screen in memory.

A process of its own, without torch, as the app is:
`python -m mechtui.bench.screen MODEL PROMPT LAYER DEVICE PRESSES SECONDS`.
What a terminal then takes to draw is not in the figures.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mechtui.app.app import Mechtui
    from mechtui.bench.subject import Subject

PRESSES = 60
# A held key, as keyboards repeat it.
HELD_SECONDS, REPEATS_PER_SECOND = 10, 30
LOOK_SECONDS = 0.002
PATIENCE = 300.0
SIZE = (120, 40)


def key_to_screen(subject: Subject, presses: int = PRESSES, held: float = HELD_SECONDS) -> dict[str, float]:
    """Press + on an edit in the last third of the layers again and again, all panes open, 32 tokens ->
    median and 95th percentile in milliseconds; then hold a letter in the prompt for `held` seconds -> the longest time
    for which the window did nothing else. Raises RuntimeError."""
    layer = subject.model.shape.n_layers * 3 // 4
    said = beside(
        "mechtui.bench.screen", subject, subject.text(32), str(layer), str(subject.device), str(presses), str(held)
    )
    figures: dict[str, float] = json.loads(said)
    return figures


def beside(module: str, subject: Subject, *arguments: str) -> str:
    """Run a measuring app in a process of its own, with the subject's model and these -> the last line that it prints.
    Raises RuntimeError."""
    with ExitStack() as stack:
        model = subject.name
        if subject.random:
            model = stack.enter_context(tempfile.TemporaryDirectory())
            _write(subject, model)
        state = stack.enter_context(tempfile.TemporaryDirectory())
        # The user's kept session, settings and recent models stay as they are.
        private = dict.fromkeys(("XDG_STATE_HOME", "XDG_CONFIG_HOME"), state)
        command = [sys.executable, "-m", module, model, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | private)
    if done.returncode:
        raise RuntimeError(f"the measuring app failed: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.splitlines()[-1]


def _write(subject: Subject, folder: str) -> None:
    """A random subject as a folder that the model process can load."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    shape = subject.model.shape
    torch.manual_seed(0)
    config = GPT2Config(n_layer=shape.n_layers, n_head=shape.n_heads, n_embd=shape.d_model)
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer: Any = subject.model.tokenizer  # transformers' own
    tokenizer.save_pretrained(folder)


async def measure(
    model: str, prompt: str, layer: int, device: str, presses: int, held: float
) -> tuple[list[float], float]:
    """Milliseconds of each press but the first few, which warm up; longest wait in milliseconds while a key is held.
    Raises TimeoutError."""
    from textual import events

    from mechtui.app.app import Mechtui
    from mechtui.config import settings
    from mechtui.link.client import Client
    from mechtui.session.document import Session
    from mechtui.session.grammar.edits import parse_edit

    class Watched(Mechtui):
        """Says when all panes show the present session."""

        complete: asyncio.Event

        def _show(self) -> None:
            super()._show()
            # The word that a run has finished may come after its last numbers: they are what is waited for.
            if self.ready is not None and not self.older:
                self.call_after_refresh(self.complete.set)

    edit = parse_edit(f"scale L{layer}H0 x0.5")
    app = Watched(Session(model=model, prompt=prompt, edits=(edit,)), settings({"device": device}), Client())
    app.complete = asyncio.Event()
    taken = []
    async with app.run_test(size=SIZE) as pilot:
        async with asyncio.timeout(PATIENCE):
            while app.ready is None or app.talk.running:
                await asyncio.sleep(0.05)
        app.go("effects")
        await pilot.pause()
        for _ in range(presses + 5):
            await asyncio.sleep(0.1)  # a person's pace; nothing of the press before is still under way
            app.complete.clear()
            began = time.perf_counter()
            app.post_message(events.Key("plus", "+"))
            await asyncio.wait_for(app.complete.wait(), PATIENCE)
            taken.append((time.perf_counter() - began) * 1000)
        app.go("tokens")
        app.write("prompt")
        await pilot.pause()
        longest = await _hold(app, round(held * REPEATS_PER_SECOND))
        await pilot.pause()
        if app.session.prompt != prompt + "a" * round(held * REPEATS_PER_SECOND):
            raise RuntimeError("not every key that was held is in the prompt")
        await app.talk.link.close()
    return taken[5:], longest


async def _hold(app: Mechtui, times: int) -> float:
    """Type a letter so many times -> the longest time in milliseconds for which the event loop was busy at a
    stretch: so long neither key nor answer could have been seen."""
    from textual import events

    longest = 0.0

    async def look() -> None:
        nonlocal longest
        while True:
            slept = time.perf_counter()
            await asyncio.sleep(LOOK_SECONDS)
            longest = max(longest, time.perf_counter() - slept - LOOK_SECONDS)

    looking = asyncio.create_task(look())
    began = time.perf_counter()
    for number in range(times):
        app.post_message(events.Key("a", "a"))
        await asyncio.sleep(max(0.0, began + (number + 1) / REPEATS_PER_SECOND - time.perf_counter()))
    looking.cancel()
    return longest * 1000


def main() -> None:
    model, prompt, layer, device, presses, held = sys.argv[1:]
    taken, longest = asyncio.run(measure(model, prompt, int(layer), device, int(presses), float(held)))
    cuts = statistics.quantiles(taken, n=20, method="inclusive")
    figures = {"key_to_screen_median_ms": statistics.median(taken), "key_to_screen_95th_ms": cuts[-1]}
    print(json.dumps(figures | {"held_key_longest_wait_ms": longest}))


if __name__ == "__main__":
    main()
