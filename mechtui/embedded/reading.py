"""Text for dictionaries: rows of whole documents, and what is known of every token in them because it was made up.

The generator knows what people would have to guess of a text that was found: the kind of every document, whether a
name stands there again, which mood a review is of. Labels of features are held to that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from mechtui.embedded.text import facts, words
from mechtui.embedded.text.corpus import Corpus

# What the words of the made-up world are, by the name of their kind.
CLASSES: dict[str, tuple[str, ...]] = {
    "a name": words.NAMES,
    "a girl's name": words.GIRLS,
    "a boy's name": words.BOYS,
    "a role": words.ROLES,
    "a place": tuple(words.PLACES),
    "an animal": words.ANIMALS,
    "a thing": words.OBJECTS,
    "a colour": words.COLOURS,
    "a size": words.SIZES,
    "a kind of weather": words.WEATHER,
    "a happy word": words.HAPPY,
    "a sad word": words.SAD,
    "a word of mood": words.HAPPY + words.SAD,
    "a country": tuple(words.CAPITALS),
    "a capital": tuple(words.CAPITALS.values()),
    "a day": words.DAYS,
    "a month": words.MONTHS,
    "a number in words": words.NUMBERS,
    "a number in digits": tuple(str(i) for i in range(1, 31)),
    "a letter": words.LETTERS,
    "a noun in the singular": tuple(words.NOUNS),
    "a noun in the plural": tuple(words.NOUNS.values()),
    "a thing that is reviewed": facts.THINGS,
    "is, are, was or were": ("is", "are", "was", "were"),
    "are or were": ("are", "were"),
    "is or was": ("is", "was"),
    "he or she": ("he", "she", "He", "She"),
    "his or her": ("his", "her", "His", "Her", "him"),
    "a, an or the": ("a", "an", "the", "The", "A", "An"),
    "a verb of giving": (
        *("gave", "handed", "passed", "showed", "brought", "sent", "sold", "offered", "threw", "lent"),
        *("give", "sell", "bought", "got", "took", "shared"),
    ),
    "a preposition": (*facts.LINKS, "for", "from", "at", "in", "on"),
    "a comma or full stop": (",", "."),
    "a mark at a sentence's end": (".", "!", "?"),
}


@dataclass(frozen=True)
class Reading:
    """Rows of text, and what is so at which token.

    Attributes:
        tokens: ids, int64, [row, position]; every row begins with end-of-text.
        counts: whether a token is text, bool, [row, position]; what fills a row up is not.
        fresh: the same without the documents that an earlier reading had.
        tags: what is so, by its description: bool, [row, position].
        texts: the documents.
    """

    tokens: NDArray[np.int64]
    counts: NDArray[np.bool_]
    fresh: NDArray[np.bool_]
    tags: dict[str, NDArray[np.bool_]] = field(default_factory=dict)
    texts: frozenset[str] = frozenset()


def words_of(tokenizer: Tokenizer) -> list[str]:
    """The word of every token of the vocabulary, without spaces around it."""
    return [str(tokenizer.decode([id])).strip() for id in range(tokenizer.get_vocab_size())]


def read(
    tokenizer: Tokenizer,
    *,
    seed: int,
    rows: int,
    length: int = 256,
    strange_names: float = 0.3,
    but: frozenset[str] = frozenset(),
) -> Reading:
    """`rows` rows of the demo's text. `but`: documents that are not fresh."""
    corpus = Corpus(tokenizer, seed=seed, n_ctx=length, strange_names=strange_names)
    tokens = np.full((rows, length), corpus.eot, dtype=np.int64)
    counts = np.zeros((rows, length), dtype=bool)
    counts[:, 0] = True
    fresh = counts.copy()
    tags: dict[str, NDArray[np.bool_]] = {}
    vocabulary = words_of(tokenizer)
    texts = set()
    for placed in corpus.texts(0, rows, length):
        here = (placed.row, slice(placed.at, placed.at + len(placed.tokens)))
        tokens[here] = placed.tokens
        counts[here] = True
        fresh[here] = placed.document.text not in but
        texts.add(placed.document.text)
        for tag, positions in _tags(placed.document.kind, [vocabulary[id] for id in placed.tokens]):
            of = tags.setdefault(tag, np.zeros((rows, length), dtype=bool))
            of[placed.row, placed.at + np.array(positions, dtype=np.int64)] = True
    return Reading(tokens, counts, fresh, tags, frozenset(texts))


KINDS = {
    "ioi": "in a text of people who give and take",
    "story": "in a story",
    "comes back": "in a text that is said twice",
    "agreement": "in a sentence of things near one another",
    "capital": "in a text of capitals",
    "review": "in a review",
    "sequence": "in days, months, numbers or letters in order",
}

_NAMES = frozenset(words.NAMES)
_HAPPY, _SAD = frozenset(words.HAPPY), frozenset(words.SAD)
_ONE, _MANY = frozenset(words.NOUNS), frozenset(words.NOUNS.values())
_GIRLS = frozenset(words.GIRLS)
_VERBS = frozenset(("is", "are", "was", "were"))
_ENDS = frozenset(".!?")


def _tags(kind: str, document: list[str]) -> Iterator[tuple[str, list[int]]]:
    """What is so at which tokens of one document, given as words; the last is end-of-text, if it fits."""
    size = len(document)
    yield KINDS[kind], list(range(size))
    yield "the first word of a text", [0]
    ends = [i for i, word in enumerate(document) if word in _ENDS]
    yield "the first word of a sentence", [i + 1 for i in ends if i + 2 < size]
    seen: set[str] = set()
    pairs: set[tuple[str, str]] = set()
    again: list[int] = []
    name_again: list[int] = []
    name_first: list[int] = []
    said_before: list[int] = []
    for i, word in enumerate(document):
        if word.isalpha() and len(word) > 2:
            if word in seen:
                again.append(i)
            if word in _NAMES:
                (name_again if word in seen else name_first).append(i)
        if i and (pair := (document[i - 1], word)) in pairs:
            said_before.append(i)
        elif i:
            pairs.add(pair)
        seen.add(word)
    yield "a word that the text had before", again
    yield "a name that the text had before", name_again
    yield "a name for the first time", name_first
    yield "two words that the text had before in this order", said_before
    if kind == "review":
        moods = [("happy" if word in _HAPPY else "sad") for word in document if word in _HAPPY | _SAD]
        first = next((i for i, word in enumerate(document) if word in _HAPPY | _SAD), size)
        if moods:
            yield f"in a {moods[0]} review, once its mood is known", list(range(first, size))
    if kind == "agreement":
        yield from _numbers(document)
    if kind == "story":
        at = next((i for i, word in enumerate(document) if word in _NAMES), None)
        if at is not None:
            yield f"in a story of a {'girl' if document[at] in _GIRLS else 'boy'}", list(range(at, size))


def _numbers(document: list[str]) -> Iterator[tuple[str, list[int]]]:
    """Where a sentence's subject is in the singular or in the plural, from the subject to before the verb."""
    at: dict[str, list[int]] = {"singular": [], "plural": []}
    number = ""
    for i, word in enumerate(document):
        if word in _ENDS or word in _VERBS:
            number = "" if word in _ENDS else "verb"
        elif not number and word in _ONE | _MANY:
            number = "singular" if word in _ONE else "plural"
        if number in at:
            at[number].append(i)
    for number, positions in at.items():
        yield f"after a subject in the {number}, before its verb", positions
