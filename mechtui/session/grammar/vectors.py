"""Steering vectors: `NAME = SOURCE [unit] [@POSITION]`."""

from __future__ import annotations

import re
from typing import get_args

from msgspec.structs import replace

from mechtui.session.document import Source, Vector
from mechtui.session.grammar.places import parse_site
from mechtui.session.grammar.words import NAME, LineError, Words, nearest, quote, short, unquote, whole
from mechtui.visible import harmless

VECTOR_SOURCES: tuple[str, ...] = get_args(Source)


def parse_vector(line: str) -> Vector:
    """`NAME = SOURCE ...` -> Vector. Raises LineError."""
    words = Words(line.rstrip("\n"))
    name = words.next("a name")
    if NAME.fullmatch(name) is None or not words.passed("="):
        problem = 'a vector is NAME = SOURCE, as in love-hate = diff L6.pre "Love" "Hate"'
        raise words.error(problem, words.words[0][1])
    source = words.next("a source (" + ", ".join(VECTOR_SOURCES) + ")")
    fields: dict[str, object]
    match source:
        case "diff":
            fields = {**_stream_site(words), "pairs": _pairs(words)}
        case "pca":
            fields = {**_stream_site(words), "texts": _texts(words)}
        case "neuron":
            text = words.next("a neuron, as in L5N2011,")
            site = parse_site(text, line=words.line, column=words.column)
            if site.kind != "neuron" or site.layers.first != site.layers.last or site.index.first != site.index.last:
                raise words.error(f"{short(text)} is not one neuron; one is L5N2011", words.column)
            fields = {"layer": site.layers.first, "index": site.index.first}
        case "token":
            fields = {"texts": (words.text(),)}
        case "file":
            fields = _file(words)
        case _:
            problem = f"{short(source)} is not a source; {nearest(source, VECTOR_SOURCES)}sources are "
            raise words.error(problem + ", ".join(VECTOR_SOURCES), words.column)
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


def _stream_site(words: Words) -> dict[str, object]:
    text = words.next("a site, as in L6.pre,")
    site = parse_site(text, line=words.line, column=words.column)
    if site.kind != "layer" or site.layers.last is None or site.layers.first != site.layers.last:
        problem = (
            f"{short(text)} is not one place of the residual stream; one is L6.pre, L6.mid, L6.post, L6.attn or L6.mlp"
        )
        raise words.error(problem, words.column)
    return {"layer": site.layers.first, "part": site.part}


def _pairs(words: Words) -> tuple[tuple[str, str], ...]:
    pairs = [(words.text(), words.text())]
    while words.passed("|"):
        pairs.append((words.text(), words.text()))
    return tuple(pairs)


def _texts(words: Words) -> tuple[str, ...]:
    texts = [words.text()]
    while words.passed("|"):
        texts.append(words.text())
    if len(texts) < 2:
        raise words.error('a principal direction needs two texts or more, with | between them: "..." | "..."')
    return tuple(texts)


def _file(words: Words) -> dict[str, object]:
    text = words.next("a file, as in vectors.safetensors#name,")
    if text.startswith('"'):
        text = unquote(text, words.line, words.column)
    path, mark, key = text.rpartition("#")
    if not mark or not path or not key:
        raise LineError(words.line, words.column, f"{short(text)} should be FILE.safetensors#NAME")
    return {"path": path, "key": key}


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
