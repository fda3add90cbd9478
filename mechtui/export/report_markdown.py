"""A report as Markdown with GitHub's tables. Colours and curves are the HTML page's: here stand their numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mechtui.export.report import (
    Report,
    Section,
    conventions,
    edit_lines,
    facts,
    of_curve,
    of_passage,
    recipe,
    said,
    sections,
    vector_lines,
)
from mechtui.paint.numbers import fixed
from mechtui.views.tables import Block, Curve, Listing, Matrix, Passage
from mechtui.visible import seen

# Larger tables are for a program, not for a reader.
MOST_CELLS = 4_000
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&$!@])")
_IN_ADDRESSES = re.compile(r"([:.](?=[^\W\d]|/))")


def escaped(text: str) -> str:
    """Any text as Markdown says it: nothing in it is markup, a link or a mention, and what is hidden is seen."""
    text = _SPECIAL.sub(r"\\\1", seen(text))
    # What looks like an address would become a link: `www.h.com`, `x.ax`, `mailto:x`.
    return _IN_ADDRESSES.sub(r"\\\1", text)


def fenced(text: str, kind: str = "") -> str:
    """Text as it is; no backticks in it end it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(longest + 1, 3)
    return f"{fence}{kind}\n{seen(text, keep=chr(10)).rstrip(chr(10))}\n{fence}\n"


def page(report: Report) -> str:
    """The whole report."""
    return "\n".join(_body(report))


def _body(report: Report) -> Iterator[str]:
    session = report.session
    yield f"# {escaped(report.title)}\n"
    for name, value in facts(report):
        yield f"{escaped(name)}: **{escaped(value)}**\n"
    yield "## Prompts and edits\n"
    for name, text in (("prompt", session.prompt), ("source", session.source)):
        if text:
            yield f"{name}:\n\n{fenced(text)}"
    if session.answer or session.foil:
        yield f"answer: {escaped(session.answer) or 'none'}, foil: {escaped(session.foil) or 'none'}\n"
    if lines := vector_lines(report):
        yield f"vectors:\n\n{fenced(chr(10).join(map(seen, lines)))}"
    if edits := edit_lines(report):
        yield "edits, in the order in which they act:\n"
        yield _table(("edit", "state", "effect"), [tuple(map(escaped, row)) for row in edits])
    else:
        yield "no edits: all numbers are of the model as it is\n"
    for section in sections(report):
        yield from _section(section)
    yield "## What the numbers rest on\n"
    yield _table(("", ""), [(name, escaped(value)) for name, value in conventions(report)])
    file, command = recipe(report)
    yield f"## Again\n\nAs a session file:\n\n{fenced(file, 'toml')}"
    yield f"As one command:\n\n{fenced(command, 'sh')}"


def _section(section: Section) -> Iterator[str]:
    yield f"## {escaped(section.view.title)}: {escaped(section.line)}\n"
    yield f"{escaped(section.view.shows)}\n"
    for part in section.parts:
        for run, block in part.runs:
            yield _block(block, run)


def _block(block: Block, run: str) -> str:
    match block:
        case Matrix():
            return _matrix(block, run)
        case Curve():
            return _matrix(of_curve(block), block.title)
        case Passage():
            note = f" ({escaped(block.note)})" if block.note else ""
            return f"**{escaped(run or block.title)}**{note}\n\n{fenced(of_passage(block))}"
        case Listing():
            title = f"**{escaped(block.title)}**\n\n" if block.title else ""
            head = (escaped(block.of), *(_named(column.name, column.unit) for column in block.columns))
            rows = [
                (escaped(name), *(escaped(said(column, at)) for column in block.columns))
                for at, name in enumerate(block.rows)
            ]
            return f"{title}{_table(head, rows)}"


def _named(name: str, unit: str) -> str:
    return escaped(f"{name} ({unit})".strip() if unit else name)


def _matrix(block: Matrix, run: str) -> str:
    name = ", ".join(text for text in (run, block.title) if text)
    title = f"**{escaped(name)}** ({escaped(block.unit)})\n\n" if block.unit else f"**{escaped(name)}**\n\n"
    if block.values.size > MOST_CELLS:
        return f"{title}{block.values.size:,} numbers: mechtui run --output FILE.npz writes them.\n"
    head = (escaped(" \\ ".join(name for name in block.of if name)), *map(escaped, block.columns))
    rows = []
    for at, name in enumerate(block.rows):
        if block.texts is not None:
            cells = [
                f"{escaped(text)} {fixed(float(value))}"
                for text, value in zip(block.texts[at], block.values[at], strict=True)
            ]
        else:
            cells = [fixed(float(value), block.places, sign=block.signs).strip() for value in block.values[at]]
        rows.append((escaped(name), *cells))
    return f"{title}{_table(head, rows)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
