"""Edit, vector and position lines: parse and format, each the other's inverse.

The grammar is in docs/lines.md. A mistake raises `LineError`, which says what is wrong, where (a caret) and
what would be right; nothing here guesses.
"""

from __future__ import annotations

import difflib
import json
import re
from typing import get_args

from msgspec.structs import replace

from mechtui.session.document import (
    ALL,
    EVERY,
    Edge,
    Edit,
    Op,
    Part,
    Positions,
    Range,
    Site,
    Source,
    Span,
    TokenPlaces,
    Vector,
    surrogate,
)
from mechtui.visible import harmless, json_escaped, seen

OPS: tuple[str, ...] = get_args(Op)
HEAD_PARTS = ("z", "q", "k", "v", "pattern", "scores")
LAYER_PARTS = ("attn", "mlp", "pre", "mid", "post")
VECTOR_SOURCES: tuple[str, ...] = get_args(Source)

# Whole numbers and decimals that every program of this one can hold: 64 bits, JSON's 53, float32.
DIGITS = 15
MOST = 10**DIGITS - 1
LARGEST = 3.4028234663852886e38

# The ops that take what the residual stream holds: a vector of d_model numbers.
VECTOR_OPS = ("add", "project")


class LineError(ValueError):
    """A line that means nothing. `line`, `column` (0-based) and `problem` make up the message."""

    def __init__(self, line: str, column: int, problem: str) -> None:
        # Half a character can be neither shown nor sent.
        self.line, self.problem = (text.encode("utf-8", "replace").decode() for text in (line, problem))
        super().__init__(self.problem)
        self.column = column

    def __str__(self) -> str:
        return self.problem

    def shown(self) -> str:
        """Three lines for a terminal: the problem, the line, a caret under the place."""
        from rich.cells import cell_len

        before = cell_len(seen(self.line[: self.column]))
        return f"{seen(self.problem)}\n  {seen(self.line)}\n  {' ' * before}^"


def _nearest(word: str, choices: tuple[str, ...]) -> str:
    found = difflib.get_close_matches(word, choices, n=1, cutoff=0.4)
    return f"did you mean {found[0]}? " if found else ""


def short(text: str) -> str:
    """A text as messages name it: a long one is cut."""
    return text if len(text) <= 60 else text[:59] + "…"


def cut(line: str) -> list[tuple[str, int]]:
    """The words of a line and where each begins; text in double quotes (JSON's rules) stays whole. Raises LineError."""
    if (at := surrogate(line)) is not None:
        problem = f"character {at} is no character but half of one (a lone surrogate); leave it out"
        raise LineError(line, at, problem)
    words: list[tuple[str, int]] = []
    start = quote = -1
    escaped = False
    for index, char in enumerate(line):
        if quote >= 0:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                quote = -1
        elif char.isspace():
            if start >= 0:
                words.append((line[start:index], start))
            start = -1
        else:
            start = index if start < 0 else start
            quote = index if char == '"' else -1
    if quote >= 0:
        raise LineError(line, quote, 'this " is never closed; text is written "like this"')
    return words if start < 0 else [*words, (line[start:], start)]


def whole(text: str, line: str, column: int) -> int:
    """`text`, digits with or without a minus, as a number. Raises LineError for one that is too large."""
    if len(text.lstrip("-")) > DIGITS:
        raise LineError(line, column, f"{short(text)} has more digits than the {DIGITS} that a whole number may have")
    return int(text)


_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def decimal(text: str) -> float | None:
    """A number as 5, -0.5 or 1e-7; None where it is none, or none that float32 can hold."""
    if not _DECIMAL.fullmatch(text):
        return None
    value = float(text)
    return value if abs(value) <= LARGEST else None


class _Words:
    """A line cut into words, and which of them comes next."""

    def __init__(self, line: str) -> None:
        self.line = line
        self.words = cut(line)
        self.at = 0

    def error(self, problem: str, column: int | None = None) -> LineError:
        if column is None:
            column = self.words[self.at][1] if self.at < len(self.words) else len(self.line)
        return LineError(self.line, column, problem)

    def peek(self) -> str | None:
        return self.words[self.at][0] if self.at < len(self.words) else None

    def next(self, wanted: str) -> str:
        word = self.peek()
        if word is None:
            raise self.error(f"the line ends where {wanted} should stand")
        self.at += 1
        return word

    def back(self) -> None:
        self.at -= 1

    def end(self) -> None:
        if self.peek() is not None:
            raise self.error(f"nothing more is expected here, but {short(self.peek() or '')} stands here")


def _text(words: _Words, quoted: str, column: int) -> str:
    try:
        text: object = json.loads(quoted, strict=False)
    except ValueError:
        problem = f'{short(quoted)} is not text; write it in double quotes, " and \\ with a \\ before them'
        raise LineError(words.line, column, problem) from None
    if not isinstance(text, str) or not text:
        raise LineError(words.line, column, 'text in double quotes should stand here, as in " John"')
    if surrogate(text) is not None:
        problem = f"{short(quoted)} holds half of a character (a lone surrogate), which no text has; leave it out"
        raise LineError(words.line, column, problem)
    return text


def quote(text: str) -> str:
    """Text in double quotes, with escapes for what nobody would see: `_text` reads it back."""
    return json_escaped(json.dumps(text, ensure_ascii=False))


# Sites


_SPAN = r"[0-9]+(?:-[0-9]+)?|\*"
_SITE = re.compile(
    rf"L(?P<layers>{_SPAN})(?:H(?P<heads>{_SPAN})(?:\.(?P<head_part>\w+))?|N(?P<neurons>{_SPAN})|\.(?P<part>\w+))"
)


def _span(text: str, line: str, column: int) -> Span:
    if text == "*":
        return EVERY
    first, _, last = text.partition("-")
    return Span(whole(first, line, column), whole(last or first, line, column))


def _format_span(span: Span) -> str:
    if span.last is None:
        return "*"
    return f"{span.first}" if span.first == span.last else f"{span.first}-{span.last}"


def parse_site(text: str, *, line: str | None = None, column: int = 0) -> Site:
    """`L9H9`, `L9H0-3.q`, `L*.mlp`, `L9N123`, `embed`, `pos` -> Site. Raises LineError."""
    line = text if line is None else line
    if text in ("embed", "pos"):
        return Site("embed" if text == "embed" else "pos")
    match = _SITE.fullmatch(text)
    if match is None:
        problem = (
            f"{short(text)} is not a site; a site is L9H9 (a head; .q .k .v .pattern .scores), "
            "L9.attn L9.mlp L9.pre L9.mid L9.post, L9N123 (a neuron), embed or pos"
        )
        raise LineError(line, column, problem)

    def span(group: str) -> Span:
        return _span(match[group], line, column + match.start(group))

    part: str
    if match["heads"] is not None:
        part = match["head_part"] or "z"
        if part not in HEAD_PARTS:
            problem = f"a head has no part .{part}; {_nearest(part, HEAD_PARTS)}it has .{' .'.join(HEAD_PARTS)}"
            raise LineError(line, column + match.start("head_part") - 1, problem)
        site = Site("head", span("layers"), span("heads"), _as_part(part))
    elif match["neurons"] is not None:
        site = Site("neuron", span("layers"), span("neurons"))
    else:
        part = match["part"]
        if part not in LAYER_PARTS:
            problem = f"a layer has no part .{part}; {_nearest(part, LAYER_PARTS)}it has .{' .'.join(LAYER_PARTS)}"
            raise LineError(line, column + match.start("part") - 1, problem)
        site = Site("layer", span("layers"), part=_as_part(part))
    for each in (site.layers, site.index):
        if each.last is not None and each.last < each.first:
            raise LineError(line, column, f"{_format_span(each)} runs backwards; write {each.last}-{each.first}")
    return site


def _as_part(text: str) -> Part:
    return next(part for part in get_args(Part) if part == text)


def format_site(site: Site) -> str:
    layers = f"L{_format_span(site.layers)}"
    match site.kind:
        case "head":
            return f"{layers}H{_format_span(site.index)}" + ("" if site.part == "z" else f".{site.part}")
        case "neuron":
            return f"{layers}N{_format_span(site.index)}"
        case "layer":
            return f"{layers}.{site.part}"
        case kind:
            return kind


# Positions


_POSITION = re.compile(
    r'(?P<token>"(?:[^"\\]|\\.)*")(?:#(?P<nth>[0-9]+))?|(?P<first>-?[0-9]+)(?:-(?P<last>-?[0-9]+))?|(?P<all>all|\*)'
)


def _positions(words: _Words, text: str, column: int) -> Positions:
    items: list[Range | TokenPlaces] = []
    at = 0
    while True:
        match = _POSITION.match(text, at)
        if match is None:
            problem = (
                f"{short(text[at:]) or 'nothing'} is not a position; positions are all, 3, -1, 2-5, 3,7 "
                'or a token: " John", " John"#2'
            )
            raise LineError(words.line, column + at, problem)
        if match["all"] is not None:
            if match.group() != text:
                raise LineError(words.line, column, "all stands alone: @all")
            return ALL
        if match["token"] is not None:
            nth = whole(match["nth"], words.line, column + match.start("nth")) if match["nth"] else None
            if nth == 0:
                raise LineError(words.line, column + at, "places are counted from 1: #1 is the first")
            items.append(TokenPlaces(_text(words, match["token"], column + at), nth))
        else:
            first = whole(match["first"], words.line, column + at)
            last = first if match["last"] is None else whole(match["last"], words.line, column + match.start("last"))
            if (first < 0) == (last < 0) and last < first:
                raise LineError(words.line, column + at, f"{match.group()} runs backwards; write {last}-{first}")
            items.append(Range(first, last))
        at = match.end()
        if at == len(text):
            return Positions(tuple(items))
        if text[at] != ",":
            raise LineError(words.line, column + at, f"a comma should stand before {short(text[at:])}")
        at += 1


def parse_positions(text: str) -> Positions:
    """`all`, `-1`, `2-5`, `3,7`, `" John"#2` (without the @) -> Positions. Raises LineError."""
    return _positions(_Words(text), text.strip(), 0)


def format_positions(positions: Positions, everything: str = "all") -> str:
    return ",".join(_format_item(item) for item in positions.items) or everything


def _format_item(item: Range | TokenPlaces) -> str:
    if isinstance(item, TokenPlaces):
        return quote(item.text) + (f"#{item.nth}" if item.nth is not None else "")
    return f"{item.first}" if item.first == item.last else f"{item.first}-{item.last}"


# Edits


def parse_edit(line: str) -> Edit:
    """One edit line, with `#` before it when it is off, -> Edit. Raises LineError."""
    text = line.rstrip("\n")
    body = text.lstrip()
    on = True
    if body.startswith("#"):
        on = False
        text = text.replace("#", " ", 1)
    words = _Words(text)
    op = words.next("an operation (" + ", ".join(OPS) + ")")
    if op not in OPS:
        words.back()
        problem = f"{short(op)} is not an operation; {_nearest(op, OPS)}the operations are {', '.join(OPS)}"
        raise words.error(problem)
    site_text = words.next("a site, as in L9H9 or L5.pre,")
    site_column = words.words[words.at - 1][1]
    site = parse_site(site_text, line=text, column=site_column)
    _check_site(op, site, words, site_column)
    positions = ALL
    word = words.peek()
    if word is not None and word.startswith("@"):
        if op == "cut":
            raise words.error("cut takes its positions as QUERIES>KEYS, as in cut L9H9 14>2")
        positions = _positions(words, word[1:], words.words[words.at][1] + 1)
        words.at += 1
    edit = _with_argument(Edit(_as_op(op), site, positions, on=on), words)
    words.end()
    return edit


def _as_op(text: str) -> Op:
    return next(op for op in get_args(Op) if op == text)


def _check_site(op: str, site: Site, words: _Words, column: int) -> None:
    where = format_site(site)
    two_axes = site.kind == "head" and site.part in ("pattern", "scores")
    if op == "cut" and (site.kind != "head" or site.part not in ("z", "pattern")):
        raise LineError(words.line, column, f"cut removes attention of a head; {where} is none: write L9H9")
    if op in VECTOR_OPS and site.kind not in ("layer", "embed", "pos"):
        problem = (
            f"a steering vector has d_model numbers and {where} has not; {op} it at L9.pre, L9.mid, L9.post, "
            "L9.attn, L9.mlp, embed or pos"
        )
        raise LineError(words.line, column, problem)
    if op == "resample" and two_axes:
        problem = f"rows of {where} differ in length, so one cannot stand in for another; resample .q, .k, .v or z"
        raise LineError(words.line, column, problem)


def _number(words: _Words, prefix: str, example: str, least: float = -LARGEST) -> float:
    word = words.next(f"a number, as in {example},")
    value = decimal(word.removeprefix(prefix)) if word.startswith(prefix) else None
    if value is None or value < least:
        words.back()
        limits = f"of at most {LARGEST:.3g}" if least < 0 else f"from {least:g} to {LARGEST:.3g}"
        raise words.error(f"{short(word)} should be {prefix} and a number {limits}, as in {example}")
    return value


def _seed(words: _Words) -> int:
    word = words.next("a seed, as in seed7,")
    if re.fullmatch(r"seed[0-9]+", word) is None:
        words.back()
        raise words.error(f"{short(word)} should be seed and a whole number, as in seed7")
    return whole(word.removeprefix("seed"), words.line, words.words[words.at - 1][1] + len("seed"))


def _with_argument(edit: Edit, words: _Words) -> Edit:
    fields: dict[str, object] = {}
    match edit.op:
        case "scale":
            fields["factor"] = _number(words, "x", "x0.5")
        case "noise":
            fields["sd"] = _number(words, "sd", "sd3", least=0)
            if words.peek() is not None:
                fields["seed"] = _seed(words)
        case "resample":
            if words.peek() is not None:
                fields["seed"] = _seed(words)
        case "add" | "project":
            name = words.next("the name of a steering vector")
            if not _NAME.fullmatch(name):
                words.back()
                raise words.error(f"{short(name)} is not a name; names are letters, digits, - and _")
            fields["vector"] = name
            if edit.op == "add" and words.peek() is not None:
                fields["factor"] = _number(words, "x", "x5")
        case "cut":
            fields["edge"] = _edge(words)
        case _:
            pass
    return replace(edit, **fields)


def _edge(words: _Words) -> Edge:
    word = words.next("QUERIES>KEYS, as in 14>2,")
    column = words.words[words.at - 1][1]
    # The > between them, not one inside quoted text.
    match = re.fullmatch(r'((?:"(?:[^"\\]|\\.)*"|[^">])+)>((?:"(?:[^"\\]|\\.)*"|[^">])+)', word)
    if match is None:
        raise LineError(words.line, column, f"{short(word)} should be QUERIES>KEYS, as in 14>2, -1>0-3 or *>0")
    queries = _positions(words, match[1], column)
    keys = _positions(words, match[2], column + match.start(2))
    raw = words.peek() == "raw"
    if raw:
        words.at += 1
    return Edge(queries, keys, raw)


def format_number(value: float) -> str:
    """The shortest text that reads back as the same number: 5, 0.5, -1e-07."""
    return repr(value).removesuffix(".0")


def format_edit(edit: Edit) -> str:
    words = [edit.op, format_site(edit.site)]
    if edit.positions != ALL:
        words.append("@" + format_positions(edit.positions))
    match edit.op:
        case "scale":
            words.append(f"x{format_number(edit.factor)}")
        case "noise":
            words += [f"sd{format_number(edit.sd)}", f"seed{edit.seed}"]
        case "resample":
            words.append(f"seed{edit.seed}")
        case "add":
            words += [edit.vector, f"x{format_number(edit.factor)}"]
        case "project":
            words.append(edit.vector)
        case "cut":
            edge = edit.edge or Edge()
            words.append(f"{format_positions(edge.queries, '*')}>{format_positions(edge.keys, '*')}")
            if edge.raw:
                words.append("raw")
        case _:
            pass
    return ("" if edit.on else "# ") + " ".join(words)


# Vectors


_NAME = re.compile(r"[\w-]+")


def parse_vector(line: str) -> Vector:
    """`NAME = SOURCE ...` -> Vector. Raises LineError."""
    words = _Words(line.rstrip("\n"))
    name = words.next("a name")
    if _NAME.fullmatch(name) is None or words.peek() != "=":
        words.at = 0
        raise words.error('a vector is NAME = SOURCE, as in love-hate = diff L6.pre "Love" "Hate"')
    words.at += 1
    source = words.next("a source (" + ", ".join(VECTOR_SOURCES) + ")")
    fields: dict[str, object]
    match source:
        case "diff":
            fields = {**_layer_site(words), "pairs": _pairs(words)}
        case "pca":
            fields = {**_layer_site(words), "texts": _texts(words)}
        case "neuron":
            text = words.next("a neuron, as in L5N2011,")
            column = words.words[words.at - 1][1]
            site = parse_site(text, line=words.line, column=column)
            if site.kind != "neuron" or site.layers.first != site.layers.last or site.index.first != site.index.last:
                raise LineError(words.line, column, f"{short(text)} is not one neuron; one is L5N2011")
            fields = {"layer": site.layers.first, "index": site.index.first}
        case "token":
            fields = {"texts": (_quoted(words),)}
        case "file":
            text = words.next("a file, as in vectors.safetensors#name,")
            column = words.words[words.at - 1][1]
            if text.startswith('"'):
                text = _text(words, text, column)
            path, mark, key = text.rpartition("#")
            if not mark or not path or not key:
                raise LineError(words.line, column, f"{short(text)} should be FILE.safetensors#NAME")
            fields = {"path": path, "key": key}
        case _:
            words.back()
            problem = f"{short(source)} is not a source; {_nearest(source, VECTOR_SOURCES)}sources are "
            raise words.error(problem + ", ".join(VECTOR_SOURCES))
    while (word := words.peek()) is not None:
        if word == "unit":
            fields["unit"] = True
        elif re.fullmatch(r"@-?[0-9]+", word) and source in ("diff", "pca"):
            fields["position"] = whole(word[1:], words.line, words.words[words.at][1] + 1)
        elif word == "@all" and source in ("diff", "pca"):
            fields["position"] = None
        else:
            problem = (
                f"{short(word)} is not an option; options are unit and, for diff and pca, @POS (one position) or @all"
            )
            raise words.error(problem)
        words.at += 1
    return replace(Vector(name, _as_source(source)), **fields)


def _as_source(text: str) -> Source:
    return next(source for source in get_args(Source) if source == text)


def _layer_site(words: _Words) -> dict[str, object]:
    text = words.next("a site, as in L6.pre,")
    column = words.words[words.at - 1][1]
    site = parse_site(text, line=words.line, column=column)
    if site.kind != "layer" or site.layers.last is None or site.layers.first != site.layers.last:
        problem = (
            f"{short(text)} is not one place of the residual stream; one is L6.pre, L6.mid, L6.post, L6.attn or L6.mlp"
        )
        raise LineError(words.line, column, problem)
    return {"layer": site.layers.first, "part": site.part}


def _quoted(words: _Words) -> str:
    word = words.next('text in double quotes, as in "Love",')
    return _text(words, word, words.words[words.at - 1][1])


def _pairs(words: _Words) -> tuple[tuple[str, str], ...]:
    pairs = [(_quoted(words), _quoted(words))]
    while words.peek() == "|":
        words.at += 1
        pairs.append((_quoted(words), _quoted(words)))
    return tuple(pairs)


def _texts(words: _Words) -> tuple[str, ...]:
    texts = [_quoted(words)]
    while words.peek() == "|":
        words.at += 1
        texts.append(_quoted(words))
    if len(texts) < 2:
        raise words.error('a principal direction needs two texts or more, with | between them: "..." | "..."')
    return tuple(texts)


def format_vector(vector: Vector) -> str:
    match vector.source:
        case "diff":
            pairs = " | ".join(f"{quote(a)} {quote(b)}" for a, b in vector.pairs)
            body = f"diff L{vector.layer}.{vector.part} {pairs}"
        case "pca":
            body = f"pca L{vector.layer}.{vector.part} " + " | ".join(quote(text) for text in vector.texts)
        case "neuron":
            body = f"neuron L{vector.layer}N{vector.index}"
        case "token":
            body = f"token {quote(vector.texts[0])}"
        case "file":
            place = f"{vector.path}#{vector.key}"
            body = "file " + (place if harmless(place) and re.search(r'[\s"\\]', place) is None else quote(place))
    where = "all" if vector.position is None else vector.position
    options = (" unit" if vector.unit else "") + (f" @{where}" if where != -1 else "")
    return f"{vector.name} = {body}{options}"
