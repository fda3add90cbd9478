"""Edit lines: `OP SITE [@POSITIONS] [ARGUMENT]`, with `#` before it when it is off."""

from __future__ import annotations

from msgspec.structs import replace

from mechtui.session.document import ALL, Edit
from mechtui.session.grammar.places import format_positions, format_site, parse_positions, parse_site
from mechtui.session.grammar.words import LineError, Words, nearest, short
from mechtui.session.ops import ops


def parse_edit(line: str) -> Edit:
    """One edit line -> Edit. Raises LineError."""
    text = line.rstrip("\n")
    on = not text.lstrip().startswith("#")
    if not on:
        text = text.replace("#", " ", 1)
    words = Words(text)
    names = ops()
    name = words.next("an operation (" + ", ".join(names) + ")")
    op = names.get(name)
    if op is None:
        near = nearest(name, tuple(names))
        problem = f"{short(name)} is not an operation; {near}the operations are {', '.join(names)}"
        raise words.error(problem, words.column)
    site = parse_site(words.next("a site, as in L9H9 or L5.pre,"), line=text, column=words.column)
    if refusal := op.refuses(site):
        raise LineError(text, words.column, refusal)
    positions = ALL
    word = words.peek()
    if word is not None and word.startswith("@"):
        if op.no_positions:
            raise words.error(op.no_positions)
        words.next("positions")
        positions = parse_positions(word[1:], text, words.column + 1)
    argument = op.parse(words)
    words.end()
    return replace(Edit(name, site, positions, on=on), **argument)


def format_edit(edit: Edit) -> str:
    where = () if edit.positions == ALL else ("@" + format_positions(edit.positions),)
    words = (edit.op, format_site(edit.site), *where, *ops()[edit.op].format(edit))
    return ("" if edit.on else "# ") + " ".join(words)
