"""How loading and fetching speak: progress, names, sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

# (stage, fraction 0..1 or None, detail)
Progress = Callable[[str, float | None, str], None]


def some(names: Iterable[str], most: int = 3) -> str:
    """The first names, and that there are more."""
    names = list(names)
    return ", ".join(islice(names, most)) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def megabytes(count: float) -> str:
    """Bytes as people say them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
