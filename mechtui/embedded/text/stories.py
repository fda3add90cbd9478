"""Little stories, and texts in which a passage or a list comes back."""

from __future__ import annotations

import random

from mechtui.embedded.text.document import MARK, Document, document
from mechtui.embedded.text.words import (
    ANIMALS,
    BOYS,
    COLOURS,
    GIRLS,
    LIST_WORDS,
    OBJECTS,
    PLACES,
    SIZES,
    TIMES,
    WEATHER,
)

BEGIN = (
    "Once upon a time there was a {g} called {N}.",
    "There was once a {g} called {N}.",
    "{N} was a {s} {g}.",
    "{N} lived in a {s} house near the {P}.",
    "{T}, {N} went to the {P}.",
    "It was a {w} day. {N} was in the {P}.",
)
WANT = (
    "{He} had a {c} {o}.",
    "{He} wanted a {c} {o} more than anything.",
    "{He} liked to play with {his} {c} {o}.",
    "{His} friend {F} had a {c} {o}.",
    "{He} had a {s} {a} and a {c} {o}.",
)
TROUBLE = (
    "But one day the {o} was gone, and {N} was{m} sad.",
    "Then a {s} {a} came and took the {o}. {N} was{m} angry.",
    "But the {o} fell into the river. {N} began to{m} cry.",
    "Then it began to rain, and {N} lost the {o}. {He} was very{m} sad.",
)
SEARCH = (
    "{He} looked under the table and behind the door.",
    "{He} went to the {P} and asked a {a}.",
    '"Where is my {o}?" said {N}.',
    '"Have you seen my {o}?" {he} asked {F}.',
    "{N} and {F} looked for the {o} all day.",
    "{He} ran to the {P}, but it was not there.",
)
FOUND = (
    "At last {he} found the{M} {o} in the {P}.",
    'Then {F} said, "Here is your{M} {o}!"',
    "The {a} came back with the{M} {o}.",
    "In the end {F} gave {him} a new{M} {o}.",
)
END = (
    "{N} was very{m} happy.",
    "{N} smiled and went home with {his}{M} {o}.",
    "{N} and {F} were friends for ever.",
    "{He} thanked {F}, and they played with the{M} {o} until it was dark.",
    "And {N} never lost the{M} {o} again.",
)


def story(rng: random.Random) -> Document:
    """A story of a lost and found thing: one person, perhaps a friend, a thing, a feeling."""
    girl = rng.random() < 0.5
    name = rng.choice(GIRLS if girl else BOYS)
    friend = rng.choice([n for n in (*GIRLS, *BOYS) if n != name])
    he, his, him = ("she", "her", "her") if girl else ("he", "his", "him")
    fixed = {
        "N": name,
        "F": friend,
        "g": "girl" if girl else "boy",
        "he": f"{he}",
        "his": his,
        "him": him,
        "He": he.title(),
        "His": his.title(),
        "o": rng.choice(OBJECTS),
        "a": rng.choice(ANIMALS),
        "c": rng.choice(COLOURS),
        "m": "",
        "M": MARK,
    }
    plan: list[tuple[str, ...]] = [BEGIN, WANT, TROUBLE]
    plan += [SEARCH] * rng.randint(0, 2)
    plan += [FOUND, END]
    lines = []
    for frames in plan:
        line = rng.choice(frames).format(
            P=rng.choice(PLACES), T=rng.choice(TIMES), w=rng.choice(WEATHER), s=rng.choice(SIZES), **fixed
        )
        lines.append(line)
    text = " ".join(lines)
    for vowel in "aeiou":
        text = text.replace(f" a {vowel}", f" an {vowel}")
    return document("story", text)


def comes_back(rng: random.Random) -> Document:
    """A word list or a passage that is said twice; all of the second time is determined."""
    if rng.random() < 0.6:
        words = [rng.choice(LIST_WORDS) for _ in range(rng.randint(4, 20))]
        comma = rng.choice((",", ""))
        first = words[0] + "".join(f"{comma} {word}" for word in words[1:])
        again = words[0] + "".join(f"{comma}{MARK} {word}" for word in words[1:])
        before, between = rng.choice((("", ". Again: "), ("List: ", ". List: "), ("Say ", ". Now say "), ("", ". ")))
        return document("comes back", f"{before}{first}{between}{again}.")
    sentences = story(rng).text.split(". ")[: rng.randint(1, 3)]
    passage = ". ".join(sentences).rstrip(".") + "."
    words = passage.split(" ")
    again = words[0] + "".join(f"{MARK} {word}" for word in words[1:])
    between = rng.choice((" Again: ", " Read it again. ", " And once more: "))
    return document("comes back", f"{passage}{between}{again}")
