"""Completion of edit and vector lines: what may stand where the text cursor is, and in a word what it means.

Nothing here checks a line; `mechtui.session.lines` does that. A completion replaces the last word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mechtui.session.changes import head_site
from mechtui.session.document import ModelShape, Session, Token
from mechtui.session.lines import HEAD_PARTS, LAYER_PARTS, OPS, VECTOR_OPS, VECTOR_SOURCES, format_site, quote

OP_NOTES = {
    "zero": "the activation becomes 0",
    "mean": "its mean over the prompt",
    "resample": "its value at random positions of the source",
    "patch": "its value in the source run",
    "freeze": "its value in the clean run",
    "scale": "times a number: x0.5",
    "noise": "plus Gaussian noise: sd3 seed7",
    "add": "plus a steering vector times a coefficient: NAME x5",
    "project": "minus its component along a steering vector",
    "cut": "attention from queries to keys: 14>2",
}
PART_NOTES = {
    "z": "what the head reads by its pattern (hook_z)",
    "q": "queries",
    "k": "keys",
    "v": "values",
    "pattern": "attention after the softmax",
    "scores": "attention before the softmax",
    "attn": "what attention writes (hook_attn_out)",
    "mlp": "what the MLP writes (hook_mlp_out)",
    "pre": "the residual stream before the layer",
    "mid": "the residual stream between attention and MLP",
    "post": "the residual stream after the layer",
}
SOURCE_NOTES = {
    "diff": 'activation of one text minus another: diff L6.pre "Love" "Hate"',
    "neuron": "what a neuron writes, a row of W_out: neuron L5N2011",
    "token": 'a token\'s unembedding direction: token " Paris"',
    "pca": 'first principal direction of texts: pca L6.pre "…" | "…"',
    "file": "from a safetensors file: file vectors.safetensors#name",
}
ARGUMENTS = {
    "scale": (("x0", "nothing of it"), ("x0.5", "half"), ("x2", "twice"), ("x-1", "turned round")),
    "noise": (("sd1", "one standard deviation"), ("sd3", "three standard deviations")),
    "resample": (("seed1", "which random positions"),),
}


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
    words = text[offset:start].split()
    word = text[start:].lstrip("#")
    start = max(start, offset)
    if not words:
        return _choose(word, start, ((op, OP_NOTES[op]) for op in OPS))
    op = words[0]
    if len(words) == 1:
        return _choose(word, start, _sites(op, word, known))
    if word.startswith("@"):
        return _choose(word, start, _positions("@", known))
    choices: list[tuple[str, str]] = []
    if op in VECTOR_OPS and not any(known.session.vector(each) for each in words[2:]):
        choices += [(vector.name, vector.source) for vector in known.session.vectors]
    elif op == "add" and not any(each.startswith("x") for each in words[3:]):
        choices += [("x1", "coefficient"), ("x5", "coefficient"), ("x-5", "against it")]
    elif op == "cut" and len(words) == 2:
        choices += [("-1>0", "from the last token to the first"), ("*>0", "from every token to the first")]
        choices += [(f"-1>{quote(token.text)}", f"position {i}") for i, token in _named(known)]
    elif op == "cut" and len(words) == 3:
        choices += [("raw", "the rest of the row is not renormalised")]
    elif len(words) == 2 or words[-1].startswith("@"):
        choices += ARGUMENTS.get(op, ())
    if op != "cut" and len(words) == 2:
        choices += _positions("@", known)
    return _choose(word, start, choices)


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


def _sites(op: str, word: str, known: Known) -> Iterable[tuple[str, str]]:
    here = format_site(head_site(known.layer, known.head))
    stem, dot, _ = word.partition(".")
    if dot:
        parts: tuple[str, ...] = HEAD_PARTS if "H" in stem else LAYER_PARTS
        if op == "cut":
            parts = ("z", "pattern")
        return ((f"{stem}.{part}", PART_NOTES[part]) for part in parts)
    choices: list[tuple[str, str]] = []
    if op not in VECTOR_OPS:
        choices += [(here, "the head under the cursor"), (f"L{known.layer}H*", "all heads of its layer")]
    if op != "cut":
        choices += [(f"L{known.layer}.{part}", PART_NOTES[part]) for part in LAYER_PARTS]
        choices += [("embed", "token embeddings"), ("pos", "position embeddings")]
        if op not in VECTOR_OPS:
            choices.append((f"L{known.layer}N0", "one MLP neuron"))
    if known.shape is not None and word.upper().startswith("L"):
        shape = known.shape
        if "H" in word.upper() and op not in VECTOR_OPS:
            choices += [(f"{word.upper().split('H')[0]}H{head}", "head") for head in range(shape.n_heads)]
        else:
            more = ((f"L{layer}", f"layer {layer}; go on with H, N or a dot") for layer in range(shape.n_layers))
            choices += more
    return choices


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
    if len(words) == 3 and source in ("diff", "pca"):
        layers = [known.layer, *(range(known.shape.n_layers) if known.shape and word else ())]
        return _choose(
            word, start, ((f"L{at}.{part}", PART_NOTES[part]) for at in dict.fromkeys(layers) for part in LAYER_PARTS)
        )
    if len(words) == 3 and source == "neuron":
        return _choose(word, start, [(f"L{known.layer}N0", "layer and neuron")])
    if len(words) == 3 and source == "token":
        return _choose(word, start, [(quote(t.text), f"position {i}") for i, t in _named(known)])
    if not word.startswith('"'):
        return _choose(word, start, [("unit", "normalised to length 1")])
    return []


def complete(text: str, completion: Completion) -> str:
    """The line with the completion in place; a finished word gets a space behind it."""
    done = text[: completion.start] + completion.word
    open_end = completion.word.startswith("L") and not any(mark in completion.word for mark in ".HN")
    return done if open_end else done + " "
