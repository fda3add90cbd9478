"""A program's sections as a Jupyter notebook, format 4: a cell of prose and a cell of code for each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from mechtui.export.section import Section


def notebook(sections: Iterable[Section]) -> str:
    """The text of the file."""
    cells = [cell for number, section in enumerate(sections) for cell in _cells(section, number)]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def _cells(section: Section, number: int) -> Iterator[dict[str, Any]]:
    heading = "#" if number == 0 else "##"
    # Prose may hold a prompt's text, which is no markup.
    prose = f"{heading} {_escaped(section.title)}\n\n{_escaped(section.prose)}".strip()
    yield {"cell_type": "markdown", "id": f"prose-{number}", "metadata": {}, "source": prose.splitlines(keepends=True)}
    if section.code:
        yield {
            "cell_type": "code",
            "id": f"code-{number}",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": section.code.strip("\n").splitlines(keepends=True),
        }


def _escaped(text: str) -> str:
    """As Markdown that shows the text itself; only the dash of a list stays one."""
    return "".join(f"\\{char}" if char in "\\`*_{}[]<>#|$&~" else char for char in text)
