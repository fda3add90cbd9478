"""Lines of all views, found by walking their folders.

What a view's tests must know of it stands in `views/<v>/example.py`; `mechtui.views.example` says how.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from mechtui.views import specs

PROMPT = "When Mary and John went to the store, John gave a drink to"
SOURCE = "When Mary and John went to the store, Mary gave a drink to"
VECTORS = ("n = neuron L0N5", 't = token " Mary"')


def _of(name: str, what: str, otherwise: Any) -> Any:
    return getattr(importlib.import_module(f"mechtui.views.{name}.example"), what, otherwise)


def lines_of(name: str) -> tuple[str, ...]:
    """A view's lines; its name where it has no others."""
    return tuple(_of(name, "LINES", (name,)))


def of_one_prompt(name: str) -> tuple[str, ...]:
    """Those that ask of the session's prompt alone, not of its cases."""
    return tuple(line for line in lines_of(name) if not line.endswith("over cases"))


def refused(name: str) -> tuple[str, ...]:
    """Those of its lines that no exported program answers."""
    return tuple(_of(name, "REFUSED", ()))


def write_files(folder: Path) -> Path:
    """The files that lines name, in this folder, which is to be the current one when they are asked."""
    for name in specs():
        for file, text in _of(name, "FILES", {}).items():
            (folder / file).write_text(text, encoding="utf-8")
    return folder
