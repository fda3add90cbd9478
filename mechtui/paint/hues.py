"""Which colours stand for what: of amounts, of differences and of words, for dark and light grounds, and for those who
do not tell red from green, or blue from yellow.

`tests/paint/test_deficiencies.py` holds each of them to what it says, as such eyes see it.
"""

from __future__ import annotations

from typing import NamedTuple

Triplet = tuple[int, int, int]

# The sixteen of old terminals, as the numbers that rich rounds to: a name would go through the theme's own idea of
# it and come out as another colour.
STANDARD: tuple[Triplet, ...] = (
    *((0, 0, 0), (170, 0, 0), (0, 170, 0), (170, 85, 0), (0, 0, 170), (170, 0, 170), (0, 170, 170), (170, 170, 170)),
    *((85, 85, 85), (255, 85, 85), (85, 255, 85), (255, 255, 85), (85, 85, 255), (255, 85, 255), (85, 255, 255)),
    (255, 255, 255),
)
BLACK, RED, GREEN, BROWN, NAVY, PURPLE, CYAN, GREY = STANDARD[:8]
_, SALMON, LIME, YELLOW, SKY, PINK, AQUA, WHITE = STANDARD[8:]


class Ramp(NamedTuple):
    """From weak to strong. stops: between which colours are mixed; numbers: of the 256, one for each level, chosen one
    by one from the 6x6x6 cube and the greys, since rounding merges the ends, and such that rich rounds their red, green
    and blue back to them; few: of the sixteen."""

    stops: tuple[Triplet, ...]
    numbers: tuple[int, ...]
    few: tuple[Triplet, ...]


class Word(NamedTuple):
    """What the colour of a word begins as, with many colours and, in the order of choice, with sixteen."""

    many: Triplet
    few: tuple[Triplet, ...]


class Hues(NamedTuple):
    """amounts, below, above (of differences: under and over zero): on a dark ground and on a light one. edited, bad,
    clean, good: words."""

    amounts: tuple[Ramp, Ramp]
    below: tuple[Ramp, Ramp]
    above: tuple[Ramp, Ramp]
    edited: Word
    bad: Word
    clean: Word
    good: Word


# After cividis (Nunez, Anderton and Renslow 2018), which reads alike with and without red-green vision.
_CIVIDIS = Ramp(
    (
        *((0, 32, 77), (0, 51, 111), (57, 72, 107), (87, 92, 109), (112, 113, 115)),
        *((138, 135, 121), (166, 157, 117), (196, 181, 108), (228, 207, 91), (255, 234, 70)),
    ),
    (17, 18, 19, 24, 60, 242, 243, 244, 245, 246, 144, 180, 186, 222, 227, 229),
    (NAVY, CYAN, LIME, YELLOW),
)
# On a light ground strong is dark: what is next to nothing is next to the paper.
_BLUES = Ramp(
    ((247, 250, 252), (198, 219, 239), (107, 174, 214), (33, 113, 181), (8, 48, 107)),
    (231, 195, 159, 189, 153, 117, 146, 110, 74, 38, 68, 32, 31, 61, 25, 24),
    (YELLOW, LIME, CYAN, NAVY),
)
_TEAL_TO_ROSE = Ramp(
    (
        *((0, 36, 40), (0, 70, 76), (60, 92, 96), (98, 108, 110), (132, 122, 124)),
        *((166, 136, 138), (198, 152, 152), (226, 172, 166), (246, 198, 188), (255, 228, 218)),
    ),
    (234, 236, 23, 240, 241, 242, 243, 244, 245, 138, 246, 174, 181, 217, 224, 231),
    (NAVY, CYAN, LIME, YELLOW),
)
_TEALS = Ramp(
    ((245, 251, 250), (190, 226, 222), (96, 178, 174), (10, 116, 118), (0, 56, 62)),
    (231, 195, 159, 187, 152, 116, 80, 109, 73, 72, 66, 30, 23, 239, 238, 236),
    (YELLOW, LIME, CYAN, NAVY),
)

_BLUE = Ramp(((24, 36, 64), (20, 80, 160), (110, 180, 255)), (17, 18, 24, 25, 31, 32, 74, 117), (NAVY, SKY, AQUA))
_BLUE_ON_LIGHT = Ramp(
    ((226, 236, 247), (146, 190, 226), (33, 102, 172)), (195, 189, 153, 110, 68, 32, 61, 25), (AQUA, SKY, NAVY)
)
_ORANGE = Ramp(
    ((60, 36, 16), (170, 84, 0), (255, 180, 90)), (52, 58, 94, 130, 136, 172, 215, 222), (BROWN, SALMON, YELLOW)
)
_ORANGE_ON_LIGHT = Ramp(
    ((252, 236, 218), (253, 190, 120), (191, 91, 10)), (230, 223, 216, 179, 172, 166, 130, 88), (YELLOW, SALMON, RED)
)
_YELLOW = Ramp(
    ((54, 44, 10), (140, 110, 0), (255, 215, 70)), (52, 58, 94, 100, 136, 142, 178, 221), (BROWN, SALMON, YELLOW)
)
_YELLOW_ON_LIGHT = Ramp(
    ((255, 244, 205), (222, 180, 50), (122, 88, 0)), (230, 222, 185, 178, 142, 136, 94, 58), (YELLOW, SALMON, RED)
)
_TEAL = Ramp(((0, 40, 44), (0, 110, 115), (70, 215, 205)), (235, 236, 237, 23, 30, 37, 80, 87), (NAVY, CYAN, AQUA))
_TEAL_ON_LIGHT = Ramp(
    ((210, 242, 238), (80, 180, 172), (0, 84, 88)), (195, 152, 116, 73, 37, 66, 30, 23), (AQUA, CYAN, NAVY)
)
_ROSE = Ramp(
    ((64, 16, 28), (170, 40, 70), (255, 150, 160)), (52, 88, 125, 131, 167, 204, 210, 217), (RED, SALMON, YELLOW)
)
_ROSE_ON_LIGHT = Ramp(
    ((255, 226, 228), (240, 120, 140), (150, 20, 50)), (224, 218, 217, 211, 204, 168, 125, 52), (YELLOW, SALMON, RED)
)

DEFAULT = ""
RED_GREEN, BLUE_YELLOW = "red-green", "blue-yellow"
# By the colours that are not told apart.
HUES = {
    DEFAULT: Hues(
        (_CIVIDIS, _BLUES),
        (_BLUE, _BLUE_ON_LIGHT),
        (_ORANGE, _ORANGE_ON_LIGHT),
        edited=Word((253, 151, 31), (YELLOW, BROWN, PURPLE)),
        bad=Word((244, 0, 95), (SALMON, RED)),
        clean=Word((88, 209, 235), (AQUA, CYAN, NAVY)),
        good=Word((152, 224, 36), (LIME, GREEN)),
    ),
    RED_GREEN: Hues(
        (_CIVIDIS, _BLUES),
        (_BLUE, _BLUE_ON_LIGHT),
        (_YELLOW, _YELLOW_ON_LIGHT),
        edited=Word((240, 190, 40), (YELLOW, BROWN, PURPLE)),
        bad=Word((214, 110, 70), (SALMON, RED)),
        clean=Word((86, 180, 233), (AQUA, CYAN, NAVY)),
        good=Word((215, 235, 255), (WHITE, NAVY)),
    ),
    BLUE_YELLOW: Hues(
        (_TEAL_TO_ROSE, _TEALS),
        (_TEAL, _TEAL_ON_LIGHT),
        (_ROSE, _ROSE_ON_LIGHT),
        edited=Word((255, 150, 160), (PINK, PURPLE)),
        bad=Word((255, 80, 40), (SALMON, RED)),
        clean=Word((70, 215, 205), (AQUA, CYAN, NAVY)),
        good=Word((200, 240, 160), (LIME, GREEN)),
    ),
}
