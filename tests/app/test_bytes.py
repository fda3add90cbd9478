"""How many bytes a key sends to the terminal: over a line of 80 KB a second each thousand is 13 ms."""

from __future__ import annotations

from typing import Any

import pytest
from rich.color import ColorSystem
from textual._compositor import CompositorUpdate
from textual.pilot import Pilot

from mechtui.app.app import Mechtui
from mechtui.app.frames import Frame
from tests.app.answering import app, idle, session

EDITS = ("zero L9H9 @-1", "scale L10H7 x0.5")


class Meter:
    """What a terminal would be sent."""

    def __init__(self, it: Mechtui, monkeypatch: pytest.MonkeyPatch) -> None:
        self.frame, self.bytes = Frame(), 0

        def display(_screen: Any, update: Any) -> None:
            if isinstance(update, CompositorUpdate):
                self.frame.take(update, it.size, ColorSystem.TRUECOLOR)
                self.bytes += len(self.frame.changes().encode())

        monkeypatch.setattr(it, "_display", display)

    async def of(self, pilot: Pilot[int], *keys: str) -> int:
        self.bytes = 0
        await pilot.press(*keys)
        await idle(pilot)
        return self.bytes


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)], ids=str)
async def test_a_key_sends_little(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    it, _, _ = app(session(*EDITS))
    meter = Meter(it, monkeypatch)
    async with it.run_test(size=size) as pilot:
        await idle(pilot)
        await meter.of(pilot, "g", "t")
        cells = size[0] * size[1]
        found = {"nothing": await meter.of(pilot)}
        await meter.of(pilot, "g", "a")
        found["the cursor"] = await meter.of(pilot, "h")
        found["the token"] = await meter.of(pilot, "k")
        await meter.of(pilot, "g", "h")
        found["the head"] = await meter.of(pilot, "k")
        await meter.of(pilot, "g", "e")
        found["an edit"] = await meter.of(pilot, "space")
        await meter.of(pilot, "i")
        found["a letter"] = await meter.of(pilot, "a")
        await pilot.press("escape")
        await idle(pilot)
        found["a workspace"] = await meter.of(pilot, "2")
        most = {
            **{"nothing": 0, "the cursor": 1_000, "the token": 6_000, "the head": 6_000, "an edit": 20_000},
            **{"a letter": 2_600, "a workspace": 8 * cells},
        }
        assert found["the cursor"] > 0
        assert {name: bytes for name, bytes in found.items() if bytes > most[name]} == {}, found
