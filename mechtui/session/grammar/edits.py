"""Edit lines: `OP SITE [@POSITIONS] [ARGUMENT]`, with `#` before it when it is off."""

from __future__ import annotations

from msgspec.structs import replace

from mechtui.session.document import ALL, Edit
from mechtui.session.grammar.places import format_positions, parse_positions
from mechtui.session.grammar.words import LineError, Words, nearest, short
from mechtui.session.ops import ops


def parse_edit(line: str, roles: bool = False) -> Edit:
    """One edit line -> Edit. roles: whether its positions may be cases' names of theirs. Raises LineError."""
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
    site, said = op.parse_site(words)
    if refusal := op.refuses(site):
        raise LineError(text, words.column, refusal)
    positions = ALL
    word = words.peek()
    if word is not None and word.startswith("@"):
        if op.no_positions:
            raise words.error(op.no_positions)
        words.next("positions")
        positions = parse_positions(word[1:], text, words.column + 1, roles)
    argument = said | op.parse_at(site, words)
    words.end()
    return replace(Edit(name, site, positions, on=on), **argument)


def format_edit(edit: Edit) -> str:
    where = () if edit.positions == ALL else ("@" + format_positions(edit.positions),)
    op = ops()[edit.op]
    words = (edit.op, op.format_site(edit), *where, *op.format(edit))
    return ("" if edit.on else "# ") + " ".join(words)
