"""What can be wrong with a model, and how progress is told."""

from __future__ import annotations

from collections.abc import Callable

# (stage, fraction 0..1 or None, detail)
Progress = Callable[[str, float | None, str], None]


class ModelError(Exception):
    """A model that cannot be had: one sentence that says what is wrong and what to do."""


def megabytes(count: float) -> str:
    """Bytes as people say them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
