"""A program's sections as one Python file, in cells that editors know (`# %%`)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from mechtui.export.section import Section

WIDTH = 116


def script(sections: Iterable[Section]) -> str:
    """The text of the file."""
    return "\n\n".join(_cell(section) for section in sections)


def _cell(section: Section) -> str:
    lines = [f"# %% {section.title}"]
    for paragraph in section.prose.splitlines():
        lines += [
            f"# {line}".rstrip()
            for line in textwrap.wrap(paragraph, WIDTH, subsequent_indent="  " * paragraph.startswith("- ")) or [""]
        ]
    if "\n" in section.prose:
        lines.append("")
    return "\n".join([*lines, section.code])
