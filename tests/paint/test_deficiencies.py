"""Colours as those see them who do not tell some of them apart.

Simulated with the matrices that Machado, Oliveira and Fernandes (2009) publish for the whole deficiency, on linear red,
green and blue; distances are CIE 1976 ones, where 2.3 can just be noticed.
"""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from rich.style import Style

from mechtui.paint.hues import BLUE_YELLOW, DEFAULT, RED_GREEN
from mechtui.paint.palette import HALF, LEVELS, Depth, Palette, palette
from mechtui.panes.theme import OWN, ground, hues

SEEN = {
    "all": np.eye(3),
    "no red": np.array(
        ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998))
    ),
    "no green": np.array(
        ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881))
    ),
    "no blue": np.array(
        ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900))
    ),
}
# Who is to read which hues.
READERS = {DEFAULT: ("all",), RED_GREEN: ("all", "no red", "no green"), BLUE_YELLOW: ("all", "no blue")}
XYZ = np.array(
    ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
)
WHITE = XYZ @ np.ones(3)
DEPTHS = [Depth.SIXTEEN, Depth.EIGHT_BIT, Depth.TRUE]


def lab(style: Style, eyes: str, front: bool = False) -> np.ndarray:
    """CIE L*, a*, b* of a background, or of the text's own colour, as these eyes see it."""
    color = style.color if front else style.bgcolor
    assert color is not None
    parts = np.array(color.get_truecolor()) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    x, y, z = XYZ @ np.clip(SEEN[eyes] @ linear, 0, 1) / WHITE
    a, b, c = (t ** (1 / 3) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116 for t in (x, y, z))
    return np.array((116 * b - 16, 500 * (a - b), 200 * (b - c)))


def apart(one: Style, other: Style, eyes: str, front: bool = False) -> float:
    return math.dist(lab(one, eyes, front), lab(other, eyes, front))


def test_the_simulation_keeps_greys_and_takes_away_a_colour() -> None:
    grey, red, green = (Style(bgcolor=name) for name in ("#808080", "#c83200", "#5a8200"))
    blue, teal = Style(bgcolor="#00639a"), Style(bgcolor="#006b6b")
    for eyes in SEEN:
        assert math.dist(lab(grey, eyes), lab(grey, "all")) < 0.1
    assert apart(red, green, "no green") < 0.5 * apart(red, green, "all")
    assert apart(red, green, "no blue") > 0.9 * apart(red, green, "all")
    assert apart(blue, teal, "no blue") < 0.5 * apart(blue, teal, "all")


THEMES = [(theme.name, eyes) for theme in OWN for eyes in READERS[hues(theme)]]


def look_of(name: str, depth: Depth) -> Palette:
    theme = next(theme for theme in OWN if theme.name == name)
    return palette(depth, ground(theme), hues(theme))


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("theme", "eyes"), THEMES)
def test_amounts_grow_lighter_or_darker_all_the_way(theme: str, eyes: str, depth: Depth) -> None:
    look = look_of(theme, depth)
    lights = [lab(look.sequential(step), eyes)[0] for step in range(LEVELS)]
    steps = [(a - b) if look.ground.light else (b - a) for a, b in pairwise(lights)]
    assert min(steps) >= (0 if depth == Depth.SIXTEEN else 0.2), np.round(steps, 1)
    assert sum(steps) > 50


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("theme", "eyes"), THEMES)
def test_under_and_over_zero_are_told_apart(theme: str, eyes: str, depth: Depth) -> None:
    look = look_of(theme, depth)
    distances = {step: apart(look.diverging(step), look.diverging(-step), eyes) for step in range(1, HALF + 1)}
    assert distances[HALF] >= 45, distances
    assert min(distances[step] for step in range(HALF // 2, HALF + 1)) >= 30, distances
    for sign in (-1, 1):
        lights = [lab(look.diverging(sign * step), eyes)[0] for step in range(1, HALF + 1)]
        steps = [(a - b) if look.ground.light else (b - a) for a, b in pairwise(lights)]
        assert min(steps) >= (0 if depth == Depth.SIXTEEN else 0.05), np.round(lights, 1)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("theme", "eyes"), THEMES)
def test_words_are_told_apart(theme: str, eyes: str, depth: Depth) -> None:
    look = look_of(theme, depth)
    words = {"clean": look.clean, "edited": look.edited, "good": look.good, "bad": look.bad}
    found = {pair: apart(words[pair[0]], words[pair[1]], eyes, front=True) for pair in combinations(words, 2)}
    assert found["clean", "edited"] >= 40, found
    assert found["good", "bad"] >= 30, found
    if depth == Depth.TRUE:
        assert min(found.values()) >= 9, found
