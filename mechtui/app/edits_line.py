"""Completion of edit, vector and question lines: what may stand where the text cursor is, and in a word what it means.

Nothing here checks a line; `mechtui.session.grammar` does that. A completion replaces the last word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from mechtui.session import sites
from mechtui.session.changes import head_site
from mechtui.session.document import OF_TEXTS, Edit, ModelShape, SaeName, Session, Token
from mechtui.session.grammar.places import format_site, parse_site
from mechtui.session.grammar.vectors import VECTOR_SOURCES
from mechtui.session.grammar.words import LineError, cut, quote
from mechtui.session.op import Op
from mechtui.session.ops import ops
from mechtui.views import Question, parse_question, specs

SOURCE_NOTES = {
    "diff": 'activation of one text minus another: diff L6.pre "Love" "Hate", or of many pairs in files',
    "mean": 'mean activation of texts: mean L6.pre file "a.txt"',
    "neuron": "what a neuron writes, a row of W_out: neuron L5N2011",
    "feature": "what a dictionary's feature writes, a row of W_dec: feature res8 1234",
    "token": 'a token\'s unembedding direction: token " Paris"',
    "pca": 'principal direction of texts: pca L6.pre "…" | "…", or of a file of texts',
    "file": "from a safetensors file: file vectors.safetensors#name",
}

RUN_NOTES = {"clean": "the run without edits", "difference": "edited minus clean"}


class Completion(NamedTuple):
    """`word` takes the place of the text from `start` on; `note` says what it is."""

    word: str
    note: str
    start: int


class Known(NamedTuple):
    """What completions are made from: the session, the model's shape, the prompt's tokens, the cursor's head."""

    session: Session
    shape: ModelShape | None = None
    tokens: Sequence[Token] = ()
    layer: int = 0
    head: int = 0
    position: int = -1


def _last_word(text: str) -> int:
    """Where the word under the cursor begins; quoted text is one word."""
    start, quoted, escaped = 0, False, False
    for index, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = quoted
        elif char == '"':
            quoted = not quoted
        elif char == " " and not quoted:
            start = index + 1
    return start


def _choose(word: str, start: int, choices: Iterable[tuple[str, str]]) -> list[Completion]:
    low = word.lower()
    return [Completion(text, note, start) for text, note in choices if text.lower().startswith(low) and text != word]


def complete_edit(text: str, known: Known) -> list[Completion]:
    """Completions for an edit line, the likeliest first."""
    start = _last_word(text)
    offset = len(text) - len(text.lstrip("# "))
    try:
        words = [each for each, _ in cut(text[offset:start])]
    except LineError:
        return []
    word = text[start:].lstrip("#")
    start = max(start, offset)
    if not words:
        return _choose(word, start, ((op.name, op.note) for op in ops().values()))
    op = ops().get(words[0])
    if op is None:
        return []
    if len(words) == 1:
        return _choose(word, start, _sites(op, word, known))
    if word.startswith("@"):
        return _choose(word, start, _positions("@", known))
    argument = words[3:] if words[2:] and words[2].startswith("@") else words[2:]
    tokens = [(quote(token.text), f"position {i}") for i, token in _named(known)]
    vectors = known.session.vectors
    if op.name == "add" and _is_feature(words[1]):
        argument, vectors = ["", *argument], ()  # no vector, but its number
    choices = list(op.choices(argument, vectors, tokens))
    if not op.no_positions and len(words) == 2:
        choices += _positions("@", known)
    return _choose(word, start, choices)


def _is_feature(word: str) -> bool:
    try:
        return parse_site(word).kind == "feature"
    except LineError:
        return False


def _named(known: Known) -> list[tuple[int, Token]]:
    seen: dict[str, tuple[int, Token]] = {}
    for index, token in enumerate(known.tokens):
        if token.text and not token.hex:
            seen.setdefault(token.text, (index, token))
    return list(seen.values())


def _positions(mark: str, known: Known) -> list[tuple[str, str]]:
    choices = [(f"{mark}-1", "the last token"), (f"{mark}all", "every position")]
    if known.position >= 0:
        choices.insert(0, (f"{mark}{known.position}", "the selected token"))
    for index, token in _named(known):
        choices.append((f"{mark}{quote(token.text)}", f"position {index}"))
    return choices


def _sites(op: Op, word: str, known: Known) -> Iterable[tuple[str, str]]:
    if (own := op.sites(word)) is not None:
        return own
    stem, dot, _ = word.partition(".")
    choices: list[tuple[str, str]] = []
    if dot:
        parts = sites.HEAD if "H" in stem else sites.LAYER
        choices += [(f"{stem}.{part}", place.note) for part, place in parts.items()]
    else:
        here = format_site(head_site(known.layer, known.head))
        choices += [(here, "the head under the cursor"), (f"L{known.layer}H*", "all heads of its layer")]
        choices += [(f"L{known.layer}.{part}", place.note) for part, place in sites.LAYER.items()]
        choices += [("embed", sites.EMBED.note), ("pos", sites.POS.note), (f"L{known.layer}N0", sites.NEURON.note)]
    choices += [(f"{sae.name}F0", f"a feature of {sae.name}") for sae in known.session.saes]
    choices = [choice for choice in choices if _takes(op, choice[0])]
    if not dot and known.shape is not None and word.upper().startswith("L"):
        layer, of_head, _ = word.upper().partition("H")
        if of_head and _takes(op, f"{layer}H0"):
            choices += [(f"{layer}H{head}", "head") for head in range(known.shape.n_heads)]
        else:
            layers = range(known.shape.n_layers)
            choices += [(f"L{number}", f"layer {number}; go on with H, N or a dot") for number in layers]
    return choices


def _takes(op: Op, site: str) -> bool:
    """Whether it is a site at which the op can act."""
    try:
        return not op.refuses(parse_site(site))
    except LineError:
        return False


def complete_vector(text: str, known: Known) -> list[Completion]:
    """Completions for a vector line."""
    start = _last_word(text)
    words, word = text[:start].split(), text[start:]
    if not words:
        return _choose(word, start, [(f"{word or 'name'} =", "a name, then = and a source")])
    if len(words) == 1:
        return _choose(word, start, [("=", "and then a source")])
    if len(words) == 2:
        return _choose(word, start, ((source, SOURCE_NOTES[source]) for source in VECTOR_SOURCES))
    source = words[2]
    if len(words) == 3 and source in OF_TEXTS:
        layers = [known.layer, *(range(known.shape.n_layers) if known.shape and word else ())]
        places = [(at, part) for at in dict.fromkeys(layers) for part in sites.LAYER]
        return _choose(word, start, ((f"L{at}.{part}", sites.LAYER[part].note) for at, part in places))
    if len(words) == 3 and source == "neuron":
        return _choose(word, start, [(f"L{known.layer}N0", "layer and neuron")])
    if len(words) == 3 and source == "feature":
        return _choose(word, start, [(sae.name, "and the feature's number") for sae in known.session.saes])
    if len(words) == 3 and source == "token":
        return _choose(word, start, [(quote(t.text), f"position {i}") for i, t in _named(known)])
    if len(words) == 4 and source in OF_TEXTS and not word.startswith('"'):
        both = source == "diff"
        files = [("file", "two text files, a pair in each line" if both else "a text file, a text in each line")]
        column = ("columns", "a CSV or JSONL file, then two columns") if both else ("column", "of a CSV or JSONL file")
        return _choose(word, start, [*files, column])
    if not word.startswith('"'):
        return _choose(word, start, [("unit", "normalised to length 1")])
    return []


def complete_question(text: str, known: Known) -> list[Completion]:
    """Completions for a question line: views, then those words with which the line means something."""
    start = _last_word(text)
    words, word = text[:start].split(), text[start:]
    if not words:
        return _choose(word, start, ((name, _first_sentence(view.shows)) for name, view in specs().items()))
    view = specs().get(words[0])
    if view is None:
        return []
    fields = _fields(view.question)
    choices: dict[str, str] = {}
    if "head" in fields:
        choices[format_site(head_site(known.layer, known.head))] = "the head under the cursor"
    if SaeName in fields.values():
        choices |= {sae.name: sae.path for sae in known.session.saes}
    choices |= dict(view.line_words)
    for name, kind in fields.items():
        if get_origin(kind) is Literal:
            others = (each for each in get_args(kind) if each != getattr(view.question(), name))
            choices |= {each: choices.get(each) or RUN_NOTES.get(each, "") for each in others}
    if "position" in fields:
        choices |= dict(_positions("@", known))
    meant = [(each, note) for each, note in choices.items() if each not in words and _means(text[:start] + each)]
    found = _choose(word, start, meant)
    if Edit in fields.values():
        at = len(words[0]) + 1
        found = [each._replace(start=each.start + at) for each in complete_edit(text[at:], known)] + found
    return found


def _first_sentence(text: str) -> str:
    return re.split(r"[.:;(]", text, maxsplit=1)[0].strip()


@cache
def _fields(question: type[Question]) -> dict[str, Any]:
    """The fields of a question's line and their types."""
    return {name: kind for name, kind in get_type_hints(question).items() if name in question.__struct_fields__}


def _means(line: str) -> bool:
    try:
        parse_question(line)
    except LineError:
        return False
    return True


def complete(text: str, completion: Completion) -> str:
    """The line with the completion in place; a finished word gets a space behind it."""
    done = text[: completion.start] + completion.word
    word = completion.word
    open_end = word.endswith(">") or (word.startswith("L") and not any(mark in word for mark in ".HN"))
    return done if open_end else done + " "
