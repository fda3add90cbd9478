"""Painted lines as plain text and as an SVG picture."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

from rich.console import Console
from rich.segment import Segment, Segments
from rich.terminal_theme import SVG_EXPORT_THEME, TerminalTheme

from mechtui.paint.palette import Ground

Line = list[Segment]
_FONTS = re.compile(r"@font-face\s*\{.*?\}\s*", re.DOTALL)


def as_text(lines: Sequence[Line]) -> str:
    """The letters alone, a line each."""
    return "".join("".join(segment.text for segment in line).rstrip() + "\n" for line in lines)


def as_svg(lines: Sequence[Line], title: str, ground: Ground) -> str:
    """The lines as a terminal shows them on this ground."""
    width = max((sum(segment.cell_length for segment in line) for line in lines), default=1)
    console = Console(
        width=max(width, 1),
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        record=True,
        legacy_windows=False,
        highlight=False,
    )
    for line in lines:
        console.print(Segments([*line, Segment.line()]), end="")
    theme = TerminalTheme(ground.backs[0], ground.front, [SVG_EXPORT_THEME.ansi_colors[at] for at in range(8)])
    return without_fonts(console.export_svg(title=title, theme=theme))


def without_fonts(svg: str) -> str:
    """A picture that rich made, without the font that it would load from a server: its reader has one."""
    return _FONTS.sub("", svg)
