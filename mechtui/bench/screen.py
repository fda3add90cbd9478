"""From a key to new numbers on the screen: the app itself, its model process beside it, on a screen in memory.

A process of its own, without torch, as the app is: `python -m mechtui.bench.screen MODEL PROMPT LAYER DEVICE PRESSES`.
What a terminal then takes to draw is not in the figure.
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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mechtui.bench.subject import Subject

PRESSES = 60
PATIENCE = 300.0
SIZE = (120, 40)


def key_to_screen(subject: Subject, presses: int = PRESSES) -> dict[str, float]:
    """Press + on an edit in the last third of the layers again and again, all panes open, 32 tokens ->
    median and 95th percentile in milliseconds. Raises RuntimeError."""
    layer = subject.model.shape.n_layers * 3 // 4
    with ExitStack() as stack:
        model = subject.name
        if subject.random:
            model = stack.enter_context(tempfile.TemporaryDirectory())
            _write(subject, model)
        state = stack.enter_context(tempfile.TemporaryDirectory())
        command = [sys.executable, "-m", "mechtui.bench.screen"]
        command += [model, subject.text(32), str(layer), str(subject.device), str(presses)]
        # The user's kept session, settings and recent models stay as they are.
        private = dict.fromkeys(("XDG_STATE_HOME", "XDG_CONFIG_HOME"), state)
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | private)
    if done.returncode:
        raise RuntimeError(f"the measuring app failed: {done.stderr.strip().splitlines()[-1]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _write(subject: Subject, folder: str) -> None:
    """A random subject as a folder that the model process can load."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    shape = subject.model.shape
    torch.manual_seed(0)
    config = GPT2Config(n_layer=shape.n_layers, n_head=shape.n_heads, n_embd=shape.d_model)
    GPT2LMHeadModel(config).save_pretrained(folder)
    subject.model.tokenizer.save_pretrained(folder)


async def measure(model: str, prompt: str, layer: int, device: str, presses: int) -> list[float]:
    """Milliseconds of each press but the first few, which warm up. Raises TimeoutError."""
    from textual import events

    from mechtui.config import settings
    from mechtui.link.client import Client
    from mechtui.session.document import Session
    from mechtui.session.lines import parse_edit
    from mechtui.ui.app import Mechtui

    class Watched(Mechtui):
        """Says when all panes show the present session."""

        complete: asyncio.Event

        def _show(self) -> None:
            super()._show()
            # The word that a run has finished may come after its last numbers: they are what is waited for.
            if self.ready is not None and not self._older:
                self.call_after_refresh(self.complete.set)

    edit = parse_edit(f"scale L{layer}H0 x0.5")
    app = Watched(Session(model=model, prompt=prompt, edits=(edit,)), settings({"device": device}), Client())
    app.complete = asyncio.Event()
    taken = []
    async with app.run_test(size=SIZE) as pilot:
        async with asyncio.timeout(PATIENCE):
            while app.talk.ms is None or app.talk.running:
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
        await app.talk.link.close()
    return taken[5:]


def main() -> None:
    model, prompt, layer, device, presses = sys.argv[1:]
    taken = asyncio.run(measure(model, prompt, int(layer), device, int(presses)))
    cuts = statistics.quantiles(taken, n=20, method="inclusive")
    print(json.dumps({"key_to_screen_median_ms": statistics.median(taken), "key_to_screen_95th_ms": cuts[-1]}))


if __name__ == "__main__":
    main()
