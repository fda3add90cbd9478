"""What is said of kept sessions in a list: when, which model, which prompt, which edits."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mechtui.session.grammar.edits import format_edit
from mechtui.session.keeping import About, listed

# How many `mechtui sessions` lists.
NEWEST = 20
MINUTE, HOUR, DAY = 60, 3600, 86400


def ago(seconds: float) -> str:
    """How long ago, in a word or two; seconds: from then to now."""
    for unit, name, most in ((MINUTE, "min", HOUR), (HOUR, "h", DAY), (DAY, "d", 100 * DAY)):
        if seconds < most:
            return f"{int(seconds // unit)} {name}" if seconds >= unit else "now"
    return f"{int(seconds // DAY)} d"


def model(about: About) -> str:
    """The model's name without the folders before it."""
    return Path(about.session.model.rstrip("/")).name


def edits(about: About) -> str:
    """How many edits there are, and how many of them are off."""
    count = len(about.session.edits)
    off = count - len(about.session.active_edits())
    return f"{count} edit{'' if count == 1 else 's'}" + (f", {off} off" if off else "") if count else ""


def holds(about: About, typed: str) -> bool:
    """Whether each of the words typed stands in its name, model, prompt or edits."""
    session = about.session
    texts = (about.name, session.model, session.prompt, *map(format_edit, session.edits))
    text = "\n".join(texts).lower()
    return all(word in text for word in typed.lower().split())


def table(sessions: Iterable[About], width: int | None) -> list[str]:
    """A line for each session, under a line of titles: time, name, model, edits, prompt; cut to `width` cells, or whole
    with None."""
    from rich.cells import cell_len, set_cell_size

    from mechtui.visible import seen

    rows = [("changed", "name", "model", "edits", "prompt")]
    for each in sessions:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(each.when))
        name = f"{each.name} (open)" if each.running else each.name
        last = each.problem or " ".join(each.session.prompt.split())
        rows.append((when, seen(name), seen(model(each)), str(len(each.session.edits) or ""), seen(last)))
    widths = [max(cell_len(row[at]) for row in rows) for at in range(4)]
    lines = ("  ".join([*map(set_cell_size, row, widths), row[4]]) for row in rows)
    if width is None:
        return list(lines)
    return [line if cell_len(line) <= width else set_cell_size(line, max(width - 1, 1)) + "…" for line in lines]


def described(about: About) -> dict[str, Any]:
    """The same as JSON has it."""
    session = about.session
    said = {
        "name": about.name,
        "file": str(about.path),
        "changed": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(about.when)),
        "model": session.model,
        "prompt": session.prompt,
        "edits": [format_edit(edit) for edit in session.edits],
        "open": about.running,
    }
    return said | ({"problem": about.problem} if about.problem else {})


def show(words: str, *, every: bool, as_json: bool) -> None:
    """Print the sessions that have these words. every: all of them, not only the newest."""
    import json
    import shutil
    import sys

    found = [each for each in listed() if holds(each, words)]
    shown = found if every else found[:NEWEST]
    if as_json:
        print(json.dumps([described(each) for each in shown], ensure_ascii=False, indent=2))
        return
    if not shown:
        print("no session has all of these words" if words else "no session is kept yet")
        return
    # What another program reads is whole.
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print("\n".join(table(shown, width)))
    if len(found) > len(shown):
        print(f"and {len(found) - len(shown)} older; --all lists them")
