"""`cut HEADS QUERIES>KEYS [raw]`: attention from these queries to these keys becomes 0, the rest of the row divided by
its sum."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from mechtui.session.document import Edge, Edit, Site, Vector
from mechtui.session.grammar.places import format_positions, format_site, parse_positions
from mechtui.session.grammar.words import Words, short
from mechtui.session.hook_edits import EditError, HookEdit
from mechtui.session.op import Choice, Of, Op
from mechtui.session.prompt import Prompt, Surroundings

# The > between queries and keys, not one inside quoted text.
_EDGE = re.compile(r'((?:"(?:[^"\\]|\\.)*"|[^">])+)>((?:"(?:[^"\\]|\\.)*"|[^">])+)')


class Cut(Op):
    name = "cut"
    order = 10
    note = "attention from queries to keys: 14>2"
    no_positions = "cut takes its positions as QUERIES>KEYS, as in cut L9H9 14>2"

    def refuses(self, site: Site) -> str:
        if site.part in ("z", "pattern"):
            return ""
        return f"cut removes attention of a head; {short(format_site(site))} is none: write L9H9"

    def parse(self, words: Words) -> dict[str, Any]:
        word = words.next("QUERIES>KEYS, as in 14>2,")
        match = _EDGE.fullmatch(word)
        if match is None:
            raise words.error(f"{short(word)} should be QUERIES>KEYS, as in 14>2, -1>0-3 or *>0", words.column)
        queries = parse_positions(match[1], words.line, words.column)
        keys = parse_positions(match[2], words.line, words.column + match.start(2))
        return {"edge": Edge(queries, keys, raw=words.passed("raw"))}

    def format(self, edit: Edit) -> tuple[str, ...]:
        edge = edit.edge or Edge()
        pair = f"{format_positions(edge.queries, '*')}>{format_positions(edge.keys, '*')}"
        return (pair, "raw") if edge.raw else (pair,)

    def choices(self, argument: Sequence[str], vectors: Sequence[Vector], tokens: Sequence[Choice]) -> Sequence[Choice]:
        if argument:
            return [("raw", "the rest of the row is not renormalised")] if len(argument) == 1 else ()
        return [
            ("-1>0", "from the last token to the first"),
            ("*>0", "from every token to the first"),
            *((f"-1>{token}", place) for token, place in tokens),
        ]

    def acts_at(self, site: Site) -> Site:
        return replace(site, part="pattern")

    def resolve(self, edit: Edit, prompt: Prompt, around: Surroundings) -> dict[str, Any]:
        edge = edit.edge or Edge()
        keys = prompt.positions(edge.keys)
        places = []
        for query in prompt.positions(edge.queries):
            if seen := tuple(key for key in keys if key <= query):
                places.append((query, seen))
        if not places:
            queries, wanted = format_positions(edge.queries, "*"), format_positions(edge.keys, "*")
            raise EditError(f"no query of {queries} sees a key of {wanted}: a query sees the keys at or before it")
        return {"places": tuple(places), "raw": edge.raw}

    def script(self, edit: HookEdit, of: Of, vector: str) -> Iterator[str]:
        edges = {query: list(keys) for query, keys in edit.places if isinstance(keys, tuple)}
        yield f"for q, keys in {edges}.items():"
        yield "    part[:, q, keys] = 0"
        if not edit.raw:
            yield "    rest = part[:, q].sum(-1, keepdim=True)"
            yield "    part[:, q] /= torch.where(rest != 0, rest, 1)"


OP = Cut()
