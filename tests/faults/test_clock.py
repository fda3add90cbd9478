"""The clock on the wall jumps: nothing waits by it, and what it says is only said."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

import mechtui
from mechtui import info
from mechtui.app.keeping import Keeper, State
from mechtui.app.opening import kept
from mechtui.link import live
from mechtui.link.messages import Load
from mechtui.session import keeping, listing
from mechtui.session.document import Session
from mechtui.session.history import History
from mechtui.session.keeping import Kept

# Where the date is asked for: it is shown, or says which of two files was written later.
SAYS_WHEN = {
    "app/sessions.py", "app/sitting.py", "worker/door.py", "session/keeping.py", "session/history.py",
    "session/listing.py", "link/client.py", "info.py", "bench/child.py",
}  # fmt: skip
DAY = 86_400.0


def test_nothing_waits_by_a_clock_that_can_jump() -> None:
    folder = Path(mechtui.__file__).parent
    asks = {
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*.py")
        if re.search(r"\b(time\.time\b|datetime\.now|date\.today)", file.read_text())
    }
    assert asks <= SAYS_WHEN


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[float]:
    """What the clock is off by."""
    off = [0.0]
    seconds, nanoseconds = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: seconds() + off[0])
    monkeypatch.setattr(time, "time_ns", lambda: nanoseconds() + int(off[0] * 1e9))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return off


def test_a_session_is_kept_and_listed_whatever_the_date(wall: list[float]) -> None:
    history = History(Session(prompt="a"), now=time.time)
    keeper = Keeper(Kept("mine"))
    for off, prompt in ((0, "a b"), (-9000 * DAY, "a b c"), (9000 * DAY, "a b c d"), (-3 * DAY, "e")):
        wall[0] = off
        history.change(Session(prompt=prompt))
        keeper.put(State(history.present, history.tree))
        assert keeper.now() == ""
        assert [about.name for about in keeping.listed()] == ["mine"]
        assert "mine" in listing.table(keeping.listed(), 80)[1]
    assert keeper.close() == ""
    opened = kept("mine")
    assert opened.session.prompt == "e"
    assert opened.tree is not None
    assert [step.session.prompt for step in opened.tree.steps.values()] == ["a", "a b", "a b c", "a b c d", "e"]
    opened.kept.release()


@pytest.mark.parametrize("off", [-9000 * DAY, 9000 * DAY])
def test_a_model_that_stays_is_never_said_to_stay_longer_than_it_was_told_to(wall: list[float], off: float) -> None:
    page = live.Live(1, "host", "0", "", Load("demo"), left=time.time(), seconds=600.0)
    wall[0] = off
    assert info._about(live.Found(Path("x"), page, 0)).split("stays for ")[1].split(",")[0] in ("10 min", "0 s")
