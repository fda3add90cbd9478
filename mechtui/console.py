"""Rich's console for tables and tracebacks that hold text from elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from mechtui.visible import beneath, seen


class VisibleConsole(Console):
    """It writes its own colours, and shows what is hidden in what it is given. file: by default the standard output."""

    def __init__(self, file: TextIO | None = None, **options: Any) -> None:
        super().__init__(file=beneath(file or sys.stdout), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=seen(segment.text, keep="\n"))
