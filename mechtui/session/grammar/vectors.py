"""Steering vectors: `NAME = SOURCE [unit] [@POSITION]`.

Texts stand in the line, or in files: `diff L9.pre file "happy.txt" "sad.txt"`, `pca L9.pre column "a.csv" "text" 2`.
"""

from __future__ import annotations

import re
from typing import get_args

from msgspec.structs import replace

from mechtui.session.document import OF_TEXTS, Source, Vector
from mechtui.session.grammar.places import parse_site
from mechtui.session.grammar.words import NAME, LineError, Words, nearest, quote, short, unquote, whole
from mechtui.visible import harmless

VECTOR_SOURCES: tuple[str, ...] = get_args(Source)
# Endings of files with columns, and the most texts of a list that a file may hold.
COLUMN_FILES = (".csv", ".jsonl")
MOST_TEXTS = 2000


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
            fields = {**_stream_site(words), **(_files(words, 2) or {"pairs": _pairs(words)})}
        case "mean":
            fields = {**_stream_site(words), **(_files(words, 1) or {"texts": _texts(words)})}
        case "pca":
            fields = {**_stream_site(words), **(_files(words, 1) or {"texts": _texts(words, least=2)})}
            fields |= _component(words)
        case "neuron":
            text = words.next("a neuron, as in L5N2011,")
            site = parse_site(text, line=words.line, column=words.column)
            if site.kind != "neuron" or site.layers.first != site.layers.last or site.index.first != site.index.last:
                raise words.error(f"{short(text)} is not one neuron; one is L5N2011", words.column)
            fields = {"layer": site.layers.first, "index": site.index.first}
        case "feature":
            fields = _feature(words)
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
        elif re.fullmatch(r"@-?[0-9]+", word) and source in OF_TEXTS:
            fields["position"] = whole(word[1:], words.line, words.words[words.at][1] + 1)
        elif word == "@all" and source in OF_TEXTS:
            fields["position"] = None
        else:
            problem = (
                f"{short(word)} is not an option; options are unit and, for {', '.join(OF_TEXTS[:-1])} and "
                f"{OF_TEXTS[-1]}, @POS (one position) or @all"
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


def _texts(words: Words, least: int = 1) -> tuple[str, ...]:
    texts = [words.text()]
    while words.passed("|"):
        texts.append(words.text())
    if len(texts) < least:
        raise words.error('a principal direction needs two texts or more, with | between them: "..." | "..."')
    return tuple(texts)


def _files(words: Words, sides: int) -> dict[str, object]:
    """The files in which `sides` lists of texts stand: one for each, or one with as many columns; none where the texts
    stand in the line itself."""
    column = "column" if sides == 1 else "columns"
    match words.peek():
        case "file":
            words.at += 1
            return {"files": tuple(_path(words, "a text file, as in happy.txt,") for _ in range(sides))}
        case word if word == column:
            words.at += 1
            file = _path(words, "a file of columns, as in pairs.csv,")
            if not file.lower().endswith(COLUMN_FILES):
                problem = f"{short(file)} has no columns: a file that has ends in {' or '.join(COLUMN_FILES)}"
                raise words.error(problem, words.column)
            return {"files": (file,), "columns": tuple(_column(words) for _ in range(sides))}
        case word if word is not None and not word.startswith('"'):
            lists = f"file {' '.join(('A.txt', 'B.txt')[:sides])}" + f" or {column} F.csv {' '.join('AB'[:sides])}"
            raise words.error(f"{short(word)} is no text in double quotes, and neither {lists}")
        case _:
            return {}


def _path(words: Words, wanted: str) -> str:
    """A file's name, in double quotes or without."""
    word = words.next(wanted)
    return unquote(word, words.line, words.column) if word.startswith('"') else word


def _column(words: Words) -> str:
    return _path(words, "a column's name, as in happy,")


def _component(words: Words) -> dict[str, object]:
    """Which principal direction, where a number says one."""
    word = words.peek()
    if word is None or re.fullmatch(r"[0-9]+", word) is None:
        return {}
    words.at += 1
    number = whole(word, words.line, words.column)
    if not 1 <= number <= MOST_TEXTS:
        raise words.error(f"principal directions are counted from 1 to {MOST_TEXTS:,}", words.column)
    return {"component": number}


def _feature(words: Words) -> dict[str, object]:
    sae = words.next("a dictionary and a feature, as in feature res8 1234,")
    if NAME.fullmatch(sae) is None:
        raise words.error(f"{short(sae)} is no name of a dictionary; write feature res8 1234", words.column)
    number = words.next("a feature, as in feature res8 1234,")
    if re.fullmatch(r"[0-9]+", number) is None:
        raise words.error(f"{short(number)} is not one feature; write feature {short(sae)} 1234", words.column)
    return {"sae": sae, "index": whole(number, words.line, words.column)}


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
        case "diff" | "mean" | "pca":
            body = f"{vector.source} L{vector.layer}.{vector.part} {_format_texts(vector)}"
            body += f" {vector.component}" if vector.component != 1 else ""
        case "neuron":
            body = f"neuron L{vector.layer}N{vector.index}"
        case "feature":
            body = f"feature {vector.sae} {vector.index}"
        case "token":
            body = f"token {quote(vector.texts[0])}"
        case "file":
            place = f"{vector.path}#{vector.key}"
            body = "file " + (place if harmless(place) and re.search(r'[\s"\\]', place) is None else quote(place))
    where = "all" if vector.position is None else vector.position
    options = (" unit" if vector.unit else "") + (f" @{where}" if where != -1 else "")
    return f"{vector.name} = {body}{options}"


def _format_texts(vector: Vector) -> str:
    """What the vector is read from."""
    if not vector.files:
        return " | ".join(" ".join(map(quote, texts)) for texts in vector.rows)
    what = "file" if not vector.columns else "columns" if len(vector.columns) > 1 else "column"
    return " ".join((what, *map(quote, vector.files), *map(quote, vector.columns)))
