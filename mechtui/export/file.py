"""The kinds of file that a program is written as."""

from __future__ import annotations

from mechtui.export.notebook import notebook
from mechtui.export.program import Exported, program
from mechtui.export.script import script

KINDS = {".py": script, ".ipynb": notebook}


def written(exported: Exported, name: str) -> str:
    """The content of a file of this name, which ends in one of KINDS. Raises ExportError."""
    kind = next(kind for ending, kind in KINDS.items() if name.endswith(ending))
    return kind(program(exported))
