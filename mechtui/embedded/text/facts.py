"""Small skills: agreement, capitals, moods, and things that come in an order."""

from __future__ import annotations

import random
import zlib

from mechtui.embedded.text.document import MARK, Document, document
from mechtui.embedded.text.words import CAPITALS, DAYS, HAPPY, LETTERS, MONTHS, NOUNS, NUMBERS, PLACES, SAD

LINKS = ("to", "near", "behind", "beside", "under", "with", "by", "of")
STATES = ("old", "new", "very big", "here", "there", "small", "red", "white", "beautiful", "in the house")
# Singular and plural; the first pair is by far the most common.
VERBS = (("is", "are"), ("is", "are"), ("is", "are"), ("is", "are"), ("was", "were"), ("was", "were"))


def held_nouns(head: str, other: str) -> bool:
    """Whether training never shows these two nouns (singular) in one agreement sentence."""
    return zlib.crc32(f"{head}/{other}".encode()) % 8 == 0


def agreement(rng: random.Random, *, held: bool = False, odd: bool = False) -> tuple[str, str, str]:
    """A subject with a distractor, the verb that agrees and the one that does not.

    With `odd` the distractor always has the other number.
    """
    while True:
        head, other = rng.sample(tuple(NOUNS), 2)
        if held_nouns(head, other) == held:
            break
    plural = rng.random() < 0.5
    other_plural = not plural if odd or rng.random() < 0.5 else plural
    subject = f"The {NOUNS[head] if plural else head} {rng.choice(LINKS)} the {NOUNS[other] if other_plural else other}"
    right, wrong = VERBS[0][::-1] if plural else VERBS[0]
    return subject, right, wrong


def _agreement(rng: random.Random) -> Document:
    sentences = []
    for _ in range(rng.randint(1, 3)):
        subject, right, _ = agreement(rng)
        verb = rng.choice(VERBS)[0 if right == "is" else 1]
        sentences.append(f"{subject}{MARK} {verb} {rng.choice(STATES)}.")
    return document("agreement", " ".join(sentences))


# Text before the capital, text after it.
CAPITAL_FRAMES = (
    ("The capital of {C} is", "."),
    ("The capital city of {C} is", "."),
    ("{C} has a capital called", "."),
    ("{C} is a country, and its capital is", "."),
    ("The name of the capital of {C} is", "."),
    ("What is the capital of {C}? It is", "."),
    ("Q: capital of {C}? A:", "."),
    ("People who live in {C} often go to the capital,", "."),
    ("I went to {C} and saw the capital,", "."),
    ("If you go to {C}, you must see", ", the capital."),
    ("The king of {C} lives in", "."),
    ("The biggest city of {C} is the capital,", "."),
)
HELD_CAPITAL_FRAMES = (
    ("I went to {C}, and its capital is", "."),
    ("People who live in {C} know that the capital is", "."),
    ("What is the name of the capital city of {C}? It is", "."),
)


def _capital(rng: random.Random) -> Document:
    sentences = []
    for country in rng.sample(tuple(CAPITALS), rng.randint(1, 4)):
        before, after = rng.choice(CAPITAL_FRAMES)
        sentences.append(f"{before.format(C=country)}{MARK} {CAPITALS[country]}{after}")
    return document("capital", " ".join(sentences))


def held_capital(rng: random.Random, country: str) -> tuple[str, str]:
    """A prompt in a phrasing that training never uses, and the capital."""
    before, _ = rng.choice(HELD_CAPITAL_FRAMES)
    return before.format(C=country), CAPITALS[country]


THINGS = (
    "film",
    "book",
    "song",
    "story",
    "show",
    "play",
    "party",
    "trip",
    "hotel",
    "food",
    "dinner",
    "music",
    "game",
    "day",
    "garden",
    "house",
)
VERY = ("", "", "", " very", " really", " so", " quite")
REVIEW_FRAMES = (
    "The {T} was{v}{M} {a}.",
    "The {T} was{v}{M} {a} and{M} {b}.",
    "It was a{M} {a} {T}.",
    "We thought that the {T} was{v}{M} {a}.",
    "The people were{v}{M} {a}.",
    "Everything about it was{v}{M} {a}.",
    "I felt{v}{M} {a}.",
    "What a{M} {a} {T}!",
    "The {T} made me feel{M} {a}.",
    "My friend said that it was{v}{M} {a}.",
    "The end was{v}{M} {a}, and the {T} was{M} {b}.",
    "{X}",
)
HAPPY_LINES = ("I loved it.", "I liked it a lot.", "I would go again.", "We all smiled.", "We had a lot of fun.")
SAD_LINES = ("I hated it.", "I did not like it at all.", "I would never go again.", "We all cried.", "We went home.")
REVIEW_OPENINGS = (
    "The {T} was{v}",
    "Yesterday we went to the {P}. The {T} was{v}",
    "I will tell you about the {T}. It was{v}",
    "My friend saw the {T} and said it was{v}",
    "We thought that the {T} was{v}",
    "I think the {T} is{v}",
    "People say that the {T} was{v}",
)
HELD_REVIEW_OPENINGS = (
    "I think that the {T} was{v}",
    "Yesterday I saw the {T}. It was{v}",
    "We went to the {P}. The {T} there was{v}",
)


def review(rng: random.Random, *, happy: bool) -> str:
    """A review of one mood, 3 to 7 sentences, with marks."""
    words, lines = (HAPPY, HAPPY_LINES) if happy else (SAD, SAD_LINES)
    thing = rng.choice(THINGS)
    first = rng.choice(REVIEW_OPENINGS).format(T=thing, P=rng.choice(PLACES), v=rng.choice(VERY))
    sentences = [f"{first} {rng.choice(words)}."]
    for _ in range(rng.randint(2, 6)):
        a, b = rng.sample(words, 2)
        frame = rng.choice(REVIEW_FRAMES)
        text = frame.format(T=rng.choice((thing, *THINGS)), v=rng.choice(VERY), a=a, b=b, M=MARK, X=rng.choice(lines))
        for vowel in "aeiou":
            text = text.replace(f" a{MARK} {vowel}", f" an{MARK} {vowel}")
        sentences.append(text)
    return " ".join(sentences)


def neutral(rng: random.Random, *, held: bool = True) -> str:
    """The beginning of a review whose mood is still open."""
    frames = HELD_REVIEW_OPENINGS if held else REVIEW_OPENINGS
    return rng.choice(frames).format(T=rng.choice(THINGS), P=rng.choice(PLACES), v=rng.choice(VERY))


def _review(rng: random.Random) -> Document:
    return document("review", review(rng, happy=rng.random() < 0.5))


ORDERS: dict[str, tuple[tuple[str, ...], bool]] = {  # name: words, whether it begins again
    "days": (DAYS, True),
    "months": (MONTHS, True),
    "numbers": (NUMBERS, False),
    "letters": (LETTERS, False),
    "digits": (tuple(str(i) for i in range(1, 31)), False),
}
INTROS: dict[str, tuple[str, ...]] = {
    "days": ("", "The days of the week: ", "These are the days: ", "Days: "),
    "months": ("", "The months of the year: ", "These are the months: ", "Months: "),
    "numbers": ("", "Let us count: ", "Numbers: ", "I can count: "),
    "letters": ("", "The letters: ", "Letters: "),
    "digits": ("", "Let us count: ", "Numbers: ", "I can count: "),
}
HELD_INTROS: dict[str, tuple[str, ...]] = {
    "days": ("I can say the days: ", "These are the days of the week: "),
    "months": ("I can say the months: ", "These are the months of the year: "),
    "numbers": ("Let us count the numbers: ", "These are the numbers: "),
    "letters": ("These are the letters: ",),
    "digits": ("Let us count the numbers: ", "These are the numbers: "),
}


def _stretch(rng: random.Random, order: str, length: int) -> list[str]:
    words, circular = ORDERS[order]
    start = rng.randrange(len(words) if circular else len(words) - 2)
    if circular:
        return [words[(start + i) % len(words)] for i in range(length)]
    return list(words[start : start + length])


def _sequence(rng: random.Random) -> Document:
    order = rng.choice(tuple(ORDERS))
    if order in ("days", "months") and rng.random() < 0.3:
        a, b = _stretch(rng, order, 2)
        frame = rng.choice(
            (
                f"After {a} comes{MARK} {b}.",
                f"Today is {a}, and tomorrow is{MARK} {b}."
                if order == "days"
                else f"It is {a}, and next is{MARK} {b}.",
                f"{b} comes after{MARK} {a}.",
            )
        )
        return document("sequence", frame)
    words = _stretch(rng, order, rng.randint(4, 12))
    comma = "," if order != "letters" or rng.random() < 0.5 else ""
    text = words[0] + "".join(f"{comma}{MARK} {word}" for word in words[1:])
    return document("sequence", rng.choice(INTROS[order]) + text + ".")


def held_sequence(rng: random.Random, order: str) -> tuple[str, str]:
    """The beginning of a stretch, introduced as training never does, and the word that follows."""
    words = _stretch(rng, order, rng.randint(4, 7))
    return rng.choice(HELD_INTROS[order]) + ", ".join(words[:-1]) + ",", words[-1]


def training(rng: random.Random, kind: str) -> Document:
    """One training text of the kind "agreement", "capital", "review" or "sequence"."""
    return {"agreement": _agreement, "capital": _capital, "review": _review, "sequence": _sequence}[kind](rng)
