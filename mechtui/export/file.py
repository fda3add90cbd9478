"""The kinds of file that a program is written as."""

from __future__ import annotations

from collections.abc import Callable

from mechtui.export import nnsight, program
from mechtui.export.notebook import notebook
from mechtui.export.program import Exported
from mechtui.export.script import script
from mechtui.export.section import Section

KINDS = {".py": script, ".ipynb": notebook}
# By the library that a program is for, which is the first one where nobody says otherwise.
TOOLS: dict[str, Callable[[Exported], list[Section]]] = {
    "transformer-lens": program.program,
    "nnsight": nnsight.program,
}


def written(exported: Exported, name: str, tool: str = "transformer-lens") -> str:
    """The content of a file of this name, which ends in one of KINDS. tool: one of TOOLS. Raises ExportError."""
    kind = next(kind for ending, kind in KINDS.items() if name.endswith(ending))
    return kind(TOOLS[tool](exported))
