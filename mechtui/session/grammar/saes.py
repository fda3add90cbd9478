"""Dictionaries of features: `NAME = PATH [at L8.post[>L8.mlp]] [labels "FILE"]`.

PATH is a file, a folder, or a hub id with a folder in it and a revision: `jbloom/GPT2-SAEs/blocks.8.hook_resid_pre`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from itertools import chain, count
from pathlib import PurePath
from typing import get_args

from mechtui.session.document import Point, Sae, Where
from mechtui.session.grammar.words import NAME, LineError, Words, nearest, quote, short, unquote, whole
from mechtui.visible import harmless

EXAMPLE = "res8 = saes/blocks.8.hook_resid_pre"
WHERE: tuple[Where, ...] = get_args(Where)
_POINT = re.compile(r"L([0-9]+)\.(\w+)")
# A site begins so, and names of dictionaries stand before their features as L9 does before its heads.
_SITE = re.compile(r"L[0-9*]")
_NAMED = re.compile(r"\s*([\w-]+)\s*=\s*(.*)", re.DOTALL)
# Names of weights that say nothing of what they are.
_WEIGHTS = (".safetensors", ".npz", ".pt", ".json")
_HOOKED = {"resid_pre": "res", "resid_mid": "mid", "resid_post": "post", "attn_out": "attn", "mlp_out": "mlp", "z": "z"}
_HOOK = re.compile(rf"blocks\.([0-9]+)\.(?:attn\.|mlp\.)?hook_({'|'.join(_HOOKED)})(?![a-z])")
_LAYER = re.compile(r"(?:layers?|h)[._]([0-9]+)")


def parse_sae(line: str) -> Sae:
    """Raises LineError."""
    words = Words(line.rstrip("\n"))
    name = words.next("a name")
    if NAME.fullmatch(name) is None or not words.passed("="):
        raise words.error(f"a dictionary is NAME = FILE, FOLDER or HUB-ID, as in {EXAMPLE}", words.words[0][1])
    if _SITE.match(name):
        problem = f"{short(name)} begins as a layer's name does, and features are named behind it; take another name"
        raise words.error(problem, words.words[0][1])
    path = _path(words, "a file, a folder or a hub id")
    reads: Point | None = None
    writes: Point | None = None
    labels = ""
    while (word := words.peek()) is not None:
        words.at += 1
        if word == "at" and reads is None:
            reads, writes = _points(words)
        elif word == "labels" and not labels:
            labels = _path(words, "a file of labels")
        else:
            raise words.error(f"{short(word)} should be at (as in at L8.post) or labels (and a file)", words.column)
    return Sae(name, path, reads, writes, labels)


def given_sae(text: str, taken: Collection[str] = ()) -> Sae:
    """What the flag says: a whole line, `NAME=PATH` or a path alone, whose name is made of it. taken: names that others
    have. Raises LineError."""
    named = _NAMED.fullmatch(text)
    if named is None:
        name, rest = _name(text, taken), text
    else:
        name, rest = named[1], named[2]
    if not rest.strip():
        raise LineError(text, 0, f"a dictionary is NAME = FILE, FOLDER or HUB-ID, as in {EXAMPLE}")
    try:
        return parse_sae(f"{name} = {rest}")
    except LineError:
        # A shell gives one word, whatever stands in it.
        if named is not None or _plain(rest):
            raise
        return parse_sae(f"{name} = {quote(rest)}")


def format_sae(sae: Sae) -> str:
    """`parse_sae` reads it back."""
    where = ""
    if sae.reads is not None:
        where = f" at {format_point(sae.reads)}" + (f">{format_point(sae.writes)}" if sae.writes is not None else "")
    labels = f" labels {_quoted(sae.labels)}" if sae.labels else ""
    return f"{sae.name} = {_quoted(sae.path)}{where}{labels}"


def format_point(point: Point) -> str:
    return f"L{point.layer}.{point.part}"


def unknown(name: str, saes: Sequence[Sae]) -> str:
    """Why no dictionary has this name, in a sentence."""
    if not saes:
        return f"there is no dictionary {short(name)}: the session names none, as --sae PATH and :sae PATH do"
    names = [sae.name for sae in saes]
    return (
        f"there is no dictionary {short(name)}; {nearest(name, names)}there {'is' if len(names) == 1 else 'are'} "
        + (", ".join(names))
    )


def _points(words: Words) -> tuple[Point, Point | None]:
    """`L8.post`, or where it reads and where it writes: `L8.in>L8.mlp`."""
    text = words.next("where it reads, as in L8.post,")
    first, mark, second = text.partition(">")
    reads = _point(words, first, words.column)
    writes = _point(words, second, words.column + len(first) + 1) if mark else reads
    return reads, None if writes == reads else writes


def _point(words: Words, text: str, column: int) -> Point:
    found = _POINT.fullmatch(text)
    part = next((part for part in WHERE if found is not None and part == found[2]), None)
    if found is None or part is None:
        problem = f"{short(text) or 'nothing'} is no place; one is L8 with .{' .'.join(WHERE)}"
        raise words.error(problem, column)
    return Point(whole(found[1], words.line, column + 1), part)


def _path(words: Words, wanted: str) -> str:
    word = words.next(wanted)
    return unquote(word, words.line, words.column) if word.startswith('"') else word


def _plain(text: str) -> bool:
    return harmless(text) and re.search(r'[\s"\\]', text) is None


def _quoted(path: str) -> str:
    return path if _plain(path) else quote(path)


def _name(path: str, taken: Collection[str]) -> str:
    """A short name that nobody has: res8 for blocks.8.hook_resid_pre, else the folder's own."""
    if found := _HOOK.search(path):
        name = f"{_HOOKED[found[2]]}{found[1]}"
    elif layer := _LAYER.search(path):
        name = f"sae{layer[1]}"
    else:
        parts = PurePath(path.partition("@")[0]).parts
        last = [part for part in parts if not part.endswith(_WEIGHTS)][-1:] or [*parts[-1:]]
        name = re.sub(r"[^\w-]+", "-", last[0] if last else "").strip("-") or "sae"
        name = f"sae-{name}" if _SITE.match(name) else name
    numbered = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(each for each in numbered if each not in taken)
