"""The models used lately, newest first, one per line in the state folder."""

from __future__ import annotations

from mechtui.session.paths import state_dir, write_private

KEPT = 8
NAME = "recent-models"


def read() -> tuple[str, ...]:
    """Nothing where there is no such file or it cannot be read: it is a convenience."""
    try:
        lines = (state_dir() / NAME).read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError):
        return ()
    return tuple(line for line in lines if line.strip())[:KEPT]


def add(model: str) -> None:
    """Raises OSError."""
    names = (model, *(name for name in read() if name != model))[:KEPT]
    write_private(state_dir() / NAME, "\n".join(names) + "\n")
