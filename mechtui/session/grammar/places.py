"""Sites (`L9H9.q`, `L*.mlp`, `res8F1234`, `embed`) and positions (`-1`, `2-5`, `" John"#2`)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import get_args

from mechtui.session.document import ALL, EVERY, Part, Place, Positions, Range, Role, Site, Span, TokenPlaces
from mechtui.session.grammar.words import LineError, nearest, quote, short, unquote, whole
from mechtui.session.sites import HEAD_PARTS, LAYER_PARTS

# How a case may call one of its positions.
ROLE = re.compile(r"[A-Za-z]\w*", re.ASCII)
_SPAN = r"[0-9]+(?:-[0-9]+)?|\*"
_SITE = re.compile(
    rf"L(?P<layers>{_SPAN})(?:H(?P<heads>{_SPAN})(?:\.(?P<head_part>\w+))?|N(?P<neurons>{_SPAN})|\.(?P<part>\w+))"
)
# Names of dictionaries hold what they like, an F with digits behind it, too: the last one counts.
_FEATURE = re.compile(rf"(?P<sae>(?!L[0-9*])[\w-]+)F(?P<features>{_SPAN})")
_POSITION = re.compile(
    r'(?P<token>"(?:[^"\\]|\\.)*")(?:#(?P<nth>[0-9]+))?|(?P<first>-?[0-9]+)(?:-(?P<last>-?[0-9]+))?'
    rf"|(?P<all>all(?!\w)|\*)|(?P<role>{ROLE.pattern})"
)


def parse_site(text: str, *, line: str | None = None, column: int = 0) -> Site:
    """`L9H9`, `L9H0-3.q`, `L*.mlp`, `L9N123`, `res8F1234`, `embed`, `pos` -> Site. line, column: where it stands.
    Raises LineError."""
    line = text if line is None else line
    if text in ("embed", "pos"):
        return Site("embed" if text == "embed" else "pos")
    match = _SITE.fullmatch(text) or _FEATURE.fullmatch(text)
    if match is None:
        problem = (
            f"{short(text)} is not a site; a site is L9H9 (a head; .q .k .v .pattern .scores), L9.attn L9.mlp L9.pre "
            "L9.mid L9.post, L9N123 (a neuron), res8F1234 (a dictionary's feature), embed or pos"
        )
        raise LineError(line, column, problem)

    def span(group: str) -> Span:
        return _span(match[group], line, column + match.start(group))

    part: str
    if match.re is _FEATURE:
        site = Site("feature", index=span("features"), sae=match["sae"])
    elif match["heads"] is not None:
        part = match["head_part"] or "z"
        if part not in HEAD_PARTS:
            problem = f"a head has no part .{short(part)}; {nearest(part, HEAD_PARTS)}it has .{' .'.join(HEAD_PARTS)}"
            raise LineError(line, column + match.start("head_part") - 1, problem)
        site = Site("head", span("layers"), span("heads"), _as_part(part))
    elif match["neurons"] is not None:
        site = Site("neuron", span("layers"), span("neurons"))
    else:
        part = match["part"]
        if part not in LAYER_PARTS:
            has = f"{nearest(part, LAYER_PARTS)}it has .{' .'.join(LAYER_PARTS)}"
            problem = f"a layer has no part .{short(part)}; {has}"
            raise LineError(line, column + match.start("part") - 1, problem)
        site = Site("layer", span("layers"), part=_as_part(part))
    for each in (site.layers, site.index):
        if each.last is not None and each.last < each.first:
            raise LineError(line, column, f"{_format_span(each)} runs backwards; write {each.last}-{each.first}")
    return site


def one_head(line: str, words: Sequence[tuple[str, int]], example: str) -> Site:
    """The head that a line's words begin with, one and no more. words: the line's, where each begins, without its first
    one. example: such a line. Raises LineError."""
    if not words:
        raise LineError(line, len(line), f"which head? write {example}")
    text, at = words[0]
    site = parse_site(text, line=line, column=at)
    one = site.layers.first == site.layers.last and site.index.first == site.index.last
    if site.kind != "head" or not one:
        raise LineError(line, at, f"{short(text)} is not one head; one is L9H9")
    return site


def format_site(site: Site) -> str:
    layers = f"L{_format_span(site.layers)}"
    match site.kind:
        case "head":
            return f"{layers}H{_format_span(site.index)}" + ("" if site.part == "z" else f".{site.part}")
        case "neuron":
            return f"{layers}N{_format_span(site.index)}"
        case "layer":
            return f"{layers}.{site.part}"
        case "feature":
            return f"{site.sae}F{_format_span(site.index)}"
        case kind:
            return kind


def _as_part(text: str) -> Part:
    return next(part for part in get_args(Part) if part == text)


def _span(text: str, line: str, column: int) -> Span:
    if text == "*":
        return EVERY
    first, _, last = text.partition("-")
    return Span(whole(first, line, column), whole(last or first, line, column))


def _format_span(span: Span) -> str:
    if span.last is None:
        return "*"
    return f"{span.first}" if span.first == span.last else f"{span.first}-{span.last}"


def parse_positions(text: str, line: str, column: int, roles: bool = False) -> Positions:
    """`all`, `-1`, `2-5`, `3,7`, `" John"#2` (without the @) -> Positions. line, column: where it stands. roles:
    whether cases' names of positions mean something there: `S2`, `end`. Raises LineError."""
    items: list[Place] = []
    at = 0
    while True:
        match = _POSITION.match(text, at)
        if match is None or (match["role"] is not None and not roles):
            problem = (
                f"{short(text[at:]) or 'nothing'} is not a position; positions are all, 3, -1, 2-5, 3,7 "
                'or a token: " John", " John"#2'
            )
            raise LineError(line, column + at, problem)
        if match["all"] is not None:
            if match.group() != text:
                raise LineError(line, column, "all stands alone: @all")
            return ALL
        if match["token"] is not None:
            nth = whole(match["nth"], line, column + match.start("nth")) if match["nth"] else None
            if nth == 0:
                raise LineError(line, column + at, "places are counted from 1: #1 is the first")
            items.append(TokenPlaces(unquote(match["token"], line, column + at), nth))
        elif match["role"] is not None:
            items.append(Role(match["role"]))
        else:
            first = whole(match["first"], line, column + at)
            last = first if match["last"] is None else whole(match["last"], line, column + match.start("last"))
            if (first < 0) == (last < 0) and last < first:
                raise LineError(line, column + at, f"{match.group()} runs backwards; write {last}-{first}")
            items.append(Range(first, last))
        at = match.end()
        if at == len(text):
            return Positions(tuple(items))
        if text[at] != ",":
            raise LineError(line, column + at, f"a comma should stand before {short(text[at:])}")
        at += 1


def format_positions(positions: Positions, everything: str = "all") -> str:
    """everything: how all positions are written, "*" at both sides of a cut's >."""
    return ",".join(map(format_place, positions.items)) or everything


def format_place(item: Place) -> str:
    if isinstance(item, Role):
        return item.name
    if isinstance(item, TokenPlaces):
        return quote(item.text) + (f"#{item.nth}" if item.nth is not None else "")
    return f"{item.first}" if item.first == item.last else f"{item.first}-{item.last}"
