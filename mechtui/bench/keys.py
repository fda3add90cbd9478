"""What a key costs the terminal: bytes, cells and milliseconds, for keys in every pane, on a screen in memory.

A process of its own, without torch, as the app is: `python -m mechtui.bench.keys MODEL PROMPT DEVICE WIDTH HEIGHT`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from textual.pilot import Pilot

    from mechtui.bench.subject import Subject

SIZES = ((80, 24), (120, 40), (200, 60))
EDIT = "scale L0H0 x0.5"
# Keys in the pane of a view, which move its cursor, and in others besides.
MOVES = ("j", "l")
MORE = {"effects": ("space", "+")}
QUIET_SECONDS, PATIENCE = 0.15, 300.0
# What `measure` gives for each key: pane, key, bytes, cells, milliseconds.
Row = tuple[str, str, int, int, float]


def show_keys(subject: Subject, json_path: str | None = None, console: Console | None = None) -> None:
    """Measure, print a table for each size of the window, write JSON where json_path names a file. Raises
    RuntimeError."""
    from rich.table import Table

    from mechtui.bench.screen import beside
    from mechtui.console import VisibleConsole

    console = console or VisibleConsole(markup=False)
    found: dict[str, list[Row]] = {}
    for width, height in SIZES:
        name = f"{width}x{height}"
        said = beside("mechtui.bench.keys", subject, subject.text(32), str(subject.device), str(width), str(height))
        found[name] = [(pane, key, bytes_, cells, ms) for pane, key, bytes_, cells, ms in json.loads(said)]
        table = Table(title=f"a key, {name}, {subject.name}, 32 tokens", title_justify="left")
        for column in ("pane", "key", "bytes", "cells", "ms"):
            table.add_column(column, justify="left" if column in ("pane", "key") else "right")
        for pane, key, bytes_, cells, ms in found[name]:
            if key and not bytes_:
                continue  # there is nothing to move to
            table.add_row(pane, key, f"{bytes_:,}", f"{cells:,}", f"{ms:.0f}")
        console.print(table)
    if json_path is not None:
        Path(json_path).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


async def measure(
    model: str, prompt: str, device: str, size: tuple[int, int], only: Collection[str] | None = None
) -> list[Row]:
    """Milliseconds: from the key to the last painting that it led to. only: these views. Raises TimeoutError."""
    from rich.color import ColorSystem
    from textual import events
    from textual._compositor import CompositorUpdate

    from mechtui.app.app import Mechtui
    from mechtui.app.frames import Frame
    from mechtui.config import settings
    from mechtui.link.client import Client
    from mechtui.session.document import Session
    from mechtui.session.grammar.edits import parse_edit
    from mechtui.views import specs

    class Watched(Mechtui):
        """Counts what the terminal would be sent."""

        frame, bytes, painted = Frame(), 0, 0.0

        def _display(self, screen: Any, renderable: Any) -> None:
            if isinstance(renderable, CompositorUpdate):
                self.frame.take(renderable, self.size, ColorSystem.TRUECOLOR)
                if changes := self.frame.changes():
                    self.bytes += len(changes.encode())
                    self.painted = time.perf_counter()

    app = Watched(
        Session(model=model, prompt=prompt, edits=(parse_edit(EDIT),)), settings({"device": device}), Client()
    )
    rows: list[Row] = []

    async def still(pilot: Pilot[int]) -> None:
        """Until all is shown, and nothing has been painted for a while."""
        async with asyncio.timeout(PATIENCE):
            while True:
                await pilot.pause()
                done = app.ready is not None and not app.talk.running and app.settled
                if done and time.perf_counter() - app.painted > QUIET_SECONDS:
                    return
                await asyncio.sleep(QUIET_SECONDS / 10)

    async def press(pilot: Pilot[int], where: str, key: str) -> None:
        app.bytes, app.frame.cells = 0, 0
        began = app.painted = time.perf_counter()
        character = {"space": " ", "plus": "+"}.get(key, key if len(key) == 1 else None)
        app.post_message(events.Key(key, character))
        await still(pilot)
        rows.append((where, key, app.bytes, app.frame.cells, (app.painted - began) * 1000))

    async with app.run_test(size=size) as pilot:
        await still(pilot)
        rows.append(("at rest", "", *await _at_rest(app, pilot), 0.0))
        for number in range(len(app.workspaces)):
            await press(pilot, "workspace", str(number + 1))
        await press(pilot, "workspace", "1")
        for view in [name for name in app.board.panes if only is None or name in only]:
            app.go(view)
            await still(pilot)
            for key in (*MOVES, *MORE.get(view, ())):
                await press(pilot, specs()[view].title, "plus" if key == "+" else key)
        app.write("prompt")
        await still(pilot)
        await press(pilot, "prompt", "a")
        await app.talk.link.close()
    return rows


async def _at_rest(app: Any, pilot: Pilot[int]) -> tuple[int, int]:
    """Bytes and cells of a second in which nobody does anything."""
    app.bytes, app.frame.cells = 0, 0
    await asyncio.sleep(1.0)
    await pilot.pause()
    return app.bytes, app.frame.cells


def main() -> None:
    model, prompt, device, width, height = sys.argv[1:]
    print(json.dumps(asyncio.run(measure(model, prompt, device, (int(width), int(height))))))


if __name__ == "__main__":
    main()
