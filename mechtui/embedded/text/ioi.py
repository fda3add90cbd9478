"""Indirect object identification: two people, one of whom gives the other something (Wang et al. 2022).

A text is an opening that names two people (or three), perhaps a remark, and a handover in which one name comes
back; the name that has not come back must follow. Kept out of training, for the tests: some pairs of names, two
remarks, and a list of openings and handovers.
"""

from __future__ import annotations

import random
import zlib

from mechtui.embedded.text.document import MARK, Document, document
from mechtui.embedded.text.words import GIFTS, NAMES, PLACES, ROLES, TIMES

OPENINGS = (
    "When {A} and {B} went to the {P}, ",
    "When {A} and {B} got to the {P}, ",
    "When {A} and {B} came to the {P}, ",
    "When {A} and {B} were at the {P}, ",
    "After {A} and {B} went to the {P}, ",
    "After {A} and {B} left the {P}, ",
    "While {A} and {B} were at the {P}, ",
    "While {A} and {B} were walking to the {P}, ",
    "As {A} and {B} left the {P}, ",
    "Because {A} and {B} were friends, ",
    "When {A} met {B} at the {P}, ",
    "When {A} saw {B} in the {P}, ",
    "While {A} waited with {B} near the {P}, ",
    "{T}, when {A} and {B} were at the {P}, ",
    "{T}, {A} and {B} went to the {P}, and ",
    "{T}, {A} and {B} were in the {P}, and ",
    "Then, {A} and {B} went to the {P}, and ",
    "{A} and {B} went to the {P}. ",
    "{A} and {B} were at the {P}. ",
    "{A} and {B} were good friends. ",
    "{A} met {B} at the {P}. ",
    "{A} was with {B} in the {P}. ",
    "{A} lived near {B}. ",
    "{A} was at the {P}. {B} was there too. ",
    "{T} {A} and {B} walked to the {P}. ",
    "{T} {A} found {B} in the {P}. ",
    "{T} {A} and {B} had a long talk about {G}. ",
    "Friends {A} and {B} found {G} at the {P}. ",
    "The friends {A} and {B} came home from the {P}. ",
    "There were two people in the {P}, {A} and {B}. ",
    "This is a story about {A} and {B}. They lived near the {P}. ",
    "Today {A} had lunch with {B}. ",
    "{A} went to the {P} to see {B}. ",
    "{A} and {B} had a lot of fun at the {P}. ",
    "Then {A} and {B} wanted to go to the {P}. ",
    "Then {A} and {B} were working at the {P}. ",
    "Then {A} and {B} had a long talk. Afterwards ",
    "Later {A} and {B} sat in the {P}, where ",
)
HELD_OPENINGS = (
    "After the lunch, {A} and {B} went to the {P}. ",
    "Then, {A} and {B} were thinking about going to the {P}. ",
    "While {A} and {B} were working at the {P}, ",
    "When {A} and {B} had lunch at the {P}, ",
    "{T}, {A} and {B} came home from the {P}, and ",
    "Because {A} lived near {B}, ",
)

REMARKS = (
    "It was a sunny day. ",
    "It was cold and windy. ",
    "They were very happy. ",
    "They had not seen each other for a long time. ",
    "There were many people there. ",
    "Nobody else was there, and it was late. ",
    "The {P} was big and very old. ",
    "They looked at {G} and talked about the {P}. ",
    "They liked the {P} very much and stayed there all day. ",
    "A dog ran past, and then it began to rain. ",
    "There was {G} on the table. ",
    "First they had some tea, and then they went for a walk. ",
)
HELD_REMARKS = (
    "It was late and it began to rain. ",
    "They talked about {G} for a long time. ",
)

# {S} is the name that comes back; the name that follows is put at the end.
HANDOVERS = (
    "{S} gave {G} to",
    "{S} gave {G} to",
    "{S} handed {G} to",
    "{S} passed {G} to",
    "{S} showed {G} to",
    "{S} brought {G} to",
    "{S} sent {G} to",
    "{S} sold {G} to",
    "{S} offered {G} to",
    "{S} threw {G} to",
    "{S} lent {G} to",
    "{S} wanted to give {G} to",
    "{S} decided to give {G} to",
    "{S} was happy to give {G} to",
    "{S} tried to sell {G} to",
    "{S} took {G} and gave it to",
    "{S} found {G} and showed it to",
    "{S} said something nice to",
    "{S} said goodbye to",
    "{S} told a story to",
    "{S} sang a song to",
    "{S} wrote a letter to",
    "{S} wanted to talk to",
    "{S} waved to",
    "{S} sat down next to",
    "{S} bought {G} for",
    "{S} had {G} for",
    "{S} made a cake for",
    "{S} opened the door for",
    "{S} waited for",
    "{S} wanted to play with",
    "{S} danced with",
    "{S} shared {G} with",
    "{S} got {G} from",
    "{S} took {G} from",
    "{S} looked at",
    "{S} smiled at",
    "{S} thanked",
    "{S} asked",
    "{S} helped",
)
HELD_HANDOVERS = (
    "{S} decided to hand {G} to",
    "{S} bought {G} and passed it to",
    "{S} wanted to say something to",
    "{S} brought {G} home for",
    "{S} was happy to show {G} to",
    "{S} took {G} and played with",
)

ENDINGS = (".", ".", ".", " at the {P}.", " and went home.", " and smiled.", " again.", ", and they were happy.")

THREE = (
    "When {A}, {B} and {C} went to the {P}, ",
    "When {A}, {B} and {C} were at the {P}, ",
    "{A}, {B} and {C} went to the {P}. ",
    "{T}, {A}, {B} and {C} were in the {P}. ",
    "While {A}, {B} and {C} were walking to the {P}, ",
)


def held_pair(a: str, b: str) -> bool:
    """Whether these two names never occur together in training (one pair in twelve, in either order)."""
    key = "+".join(sorted((a, b)))
    return zlib.crc32(key.encode()) % 12 == 0


def people(rng: random.Random, count: int, *, held: bool) -> list[str]:
    """Distinct names; with `held`, two that training never shows together, otherwise none such."""
    while True:
        names = rng.sample(NAMES, count)
        pairs = [held_pair(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
        if all(pairs) if held else not any(pairs):
            return names


def _fill(frame: str, rng: random.Random, **names: str) -> str:
    return frame.format(P=rng.choice(PLACES), G=rng.choice(GIFTS), T=rng.choice(TIMES), **names)


def prompt(
    rng: random.Random,
    *,
    names: list[str] | None = None,
    openings: tuple[str, ...] = OPENINGS,
    remarks: tuple[str, ...] = REMARKS,
    handovers: tuple[str, ...] = HANDOVERS,
    remark_share: float = 0.4,
    io_first: bool | None = None,
) -> tuple[str, str, str]:
    """A prompt that ends before the indirect object, the indirect object and the subject, without spaces."""
    io, subject = names if names is not None else people(rng, 2, held=False)
    first = rng.random() < 0.5 if io_first is None else io_first
    a, b = (io, subject) if first else (subject, io)
    opening = _fill(rng.choice(openings), rng, A=a, B=b)
    ended = opening.endswith(". ")
    if ended and rng.random() < remark_share:
        opening += _fill(rng.choice(remarks), rng)
        if rng.random() < 0.3:
            opening += _fill(rng.choice(remarks), rng)
    if ended and rng.random() < 0.3:
        opening += "Then "
    return opening + _fill(rng.choice(handovers), rng, S=subject), io, subject


def _roles(rng: random.Random) -> Document:
    """The same with people who have no name: "the teacher ... the nurse ..."."""
    io, subject = rng.sample(ROLES, 2)
    text, _, _ = prompt(rng, names=[f"the {io}", f"the {subject}"])
    text = text[0].upper() + text[1:]
    return document("ioi", f"{text} the{MARK} {io}{_fill(rng.choice(ENDINGS), rng)}")


def _three(rng: random.Random) -> Document:
    """Three names; two of them act, or a stranger does and either may follow."""
    a, b, c = people(rng, 3, held=False)
    opening = _fill(rng.choice(THREE), rng, A=a, B=b, C=c)
    left, first, second = rng.sample([a, b, c], 3)
    handover = _fill(rng.choice(HANDOVERS), rng, S=f"{first} and {second}").replace(" was ", " were ")
    ending = _fill(rng.choice(ENDINGS), rng)
    return document("ioi", f"{opening}{handover}{MARK} {left}{ending}", (a, b, c))


def _stranger(rng: random.Random) -> Document:
    """Control: a third person acts, so that both names are right, and no name came back."""
    a, b, c = people(rng, 3, held=False)
    text, _, _ = prompt(rng, names=[a, b])
    # The subject's last mention is the actor's.
    head, _, tail = text.rpartition(b)
    return document("ioi", f"{head}{c}{tail} {rng.choice((a, b))}.", (a, b, c))


def training(rng: random.Random) -> Document:
    """One text of this family for training."""
    kind = rng.random()
    if kind < 0.10:
        return _roles(rng)
    if kind < 0.25:
        return _three(rng)
    if kind < 0.30:
        return _stranger(rng)
    text, io, subject = prompt(rng)
    return document("ioi", f"{text}{MARK} {io}{_fill(rng.choice(ENDINGS), rng)}", (io, subject))


def held_out(rng: random.Random, *, templates: bool) -> tuple[str, str, str]:
    """A prompt for the tests: a pair of names that training never shows together.

    With `templates`, the opening, the remarks and the handover are kept-out ones too.
    """
    names = people(rng, 2, held=True)
    if templates:
        return prompt(rng, names=names, openings=HELD_OPENINGS, remarks=HELD_REMARKS, handovers=HELD_HANDOVERS)
    return prompt(rng, names=names)
