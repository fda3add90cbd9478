"""Palettes and heat maps."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.color import Color, ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual.theme import BUILTIN_THEMES

from mechtui.paint.heat import cell, legend, merge, row
from mechtui.paint.hues import HUES, STANDARD
from mechtui.paint.palette import (
    DARK,
    HALF,
    LEVELS,
    Depth,
    Ground,
    contrast,
    detect,
    diverging_level,
    level,
    lightness,
    palette,
)
from mechtui.panes.theme import OWN, THEMES, ground, hues

OFFERED = {theme.name: theme for theme in OWN} | BUILTIN_THEMES
COLOURFUL = (Depth.EIGHT_BIT, Depth.TRUE)


@pytest.mark.parametrize(
    ("environ", "depth"),
    [
        ({}, Depth.SIXTEEN),
        ({"TERM": "xterm-256color"}, Depth.EIGHT_BIT),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, Depth.TRUE),
        ({"TERM": "tmux-256color", "COLORTERM": "24bit", "NO_COLOR": "1"}, Depth.NONE),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, Depth.EIGHT_BIT),
        ({"TERM": "dumb", "COLORTERM": "truecolor"}, Depth.NONE),
        ({"TERM": "linux"}, Depth.SIXTEEN),
        ({"TERM": "xterm-direct"}, Depth.TRUE),
        ({"TERM": "vt220"}, Depth.NONE),
        ({"TERM": "xterm-mono"}, Depth.NONE),
    ],
)
def test_depth_from_the_environment(environ: dict[str, str], depth: Depth) -> None:
    assert detect(environ) == depth


def _light(style: Style, front: bool = False) -> float:
    color = style.color if front else style.bgcolor
    assert color is not None
    triplet = color.get_truecolor()
    return lightness((triplet.red, triplet.green, triplet.blue))


def _perceived(light: float) -> float:
    """L* (CIE 1976), 0..100, of a relative luminance."""
    return 116 * light ** (1 / 3) - 16 if light > 216 / 24389 else light * 24389 / 27


@pytest.mark.parametrize(("depth", "widest"), [(Depth.TRUE, 7), (Depth.EIGHT_BIT, 18)])
def test_the_sequential_ramp_rises_in_perceived_lightness_without_a_cliff(depth: Depth, widest: float) -> None:
    lights = [_perceived(_light(palette(depth).sequential(step))) for step in range(LEVELS)]
    steps = [b - a for a, b in pairwise(lights)]
    assert min(steps) > 0.8
    assert max(steps) < widest
    # Blue, then grey, then yellow, as with all colours: no other hue comes in between.
    for step in range(LEVELS):
        color = palette(depth).sequential(step).bgcolor
        assert color is not None
        red, green, blue = color.get_truecolor()
        assert green <= max(red, blue)


def test_of_no_difference_there_is_no_colour() -> None:
    assert all(palette(depth).diverging(0) == Style.null() for depth in Depth)


@pytest.mark.parametrize("depth", COLOURFUL)
def test_numbers_can_be_read_on_every_level(depth: Depth) -> None:
    looks = [palette(depth).sequential(step) for step in range(LEVELS)]
    looks += [palette(depth).diverging(step) for step in range(-HALF, HALF + 1) if step]
    assert min(contrast(_light(look, front=True), _light(look)) for look in looks) >= 4.5


@pytest.mark.parametrize("hues", HUES)
@pytest.mark.parametrize("place", [DARK, Ground((0, 0, 0), ((255, 255, 255),))], ids=["dark", "light"])
def test_the_ramps_for_256_colours_survive_the_way_to_the_terminal(hues: str, place: Ground) -> None:
    # textual turns palette numbers into red, green and blue, and rich rounds these to numbers again.
    look = palette(Depth.EIGHT_BIT, place, hues)
    looks = [look.sequential(step) for step in range(LEVELS)]
    looks += [look.diverging(step) for step in range(-HALF, HALF + 1) if step]
    for color in (look.bgcolor for look in looks):
        assert color is not None
        again = Color.from_triplet(color.get_truecolor()).downgrade(ColorSystem.EIGHT_BIT)
        assert again.number == color.number


def test_no_colour_means_none() -> None:
    bare = palette(Depth.NONE)
    looks = [bare.sequential(i) for i in range(LEVELS)] + [bare.diverging(i) for i in range(-HALF, HALF + 1)]
    looks += [bare.dim, bare.bold, bare.selected, bare.row, bare.mark, bare.bad, bare.clean, bare.edited]
    assert all(look.color is None and look.bgcolor is None for look in looks)
    assert [bare.shade(step) for step in range(0, LEVELS, 3)] == [" ", " ", "░", "▒", "▓", "█"]


@given(st.floats(allow_nan=True), st.floats(-10, 10), st.floats(-10, 10))
def test_levels_stay_on_the_scale(value: float, low: float, high: float) -> None:
    step, way = level(value, low, high), diverging_level(value, abs(high))
    assert step is None if np.isnan(value) else 0 <= (step or 0) < LEVELS
    assert way is None if np.isnan(value) else -HALF <= (way or 0) <= HALF


def test_diverging_levels_have_the_sign_of_their_value() -> None:
    assert [diverging_level(x, 2.0) for x in (-2.0, -0.5, 0.0, 0.001, 0.5, 2.0, 9.0)] == [-8, -2, 0, 0, 2, 8, 8]


def test_neighbours_of_one_look_are_one_segment() -> None:
    dim = Style(dim=True)
    assert merge([("a", dim), ("b", Style(dim=True)), ("", Style.null()), ("c", Style.null())]) == [
        Segment("ab", dim),
        Segment("c", Style.null()),
    ]
    assert len(row([0.0] * 50, 0, 1, 2, palette(Depth.TRUE))) == 1


@given(
    st.lists(st.floats(-50, 50) | st.just(float("nan")), max_size=30),
    st.integers(1, 7),
    st.booleans(),
    st.sampled_from(list(Depth)),
)
def test_rows_have_their_width(values: list[float], wide: int, signs: bool, depth: Depth) -> None:
    found = row(values, -3, 3, wide, palette(depth), signs=signs)
    assert sum(segment.cell_length for segment in found) == wide * len(values)


def test_what_was_not_computed_is_blank_and_what_is_zero_is_not_the_same() -> None:
    true = palette(Depth.TRUE)
    assert cell(float("nan"), 0, 1, 4, true) == ("    ", Style.null())
    assert cell(0.0, 0, 1, 4, true)[1] != Style.null()
    assert cell(0.71, 0, 1, 4, true)[0] == " .71"


@pytest.mark.parametrize("depth", list(Depth))
def test_signs_are_told_by_more_than_hue(depth: Depth) -> None:
    for wide in (1, 2, 5):
        minus, plus = (cell(x, -1, 1, wide, palette(depth), signs=True)[0] for x in (-0.9, 0.9))
        assert "-" in minus
        assert "+" in plus


def test_legend_names_both_ends() -> None:
    text = "".join(part for part, _ in legend("0", "3.1", palette(Depth.NONE), unit="nats"))
    assert text.startswith("0 ")
    assert text.endswith(" 3.1 nats")


def test_painting_needs_neither_textual_nor_torch() -> None:
    code = (
        "import sys\n"
        "from mechtui.paint import bars, heat, marks, numbers, palette, spark, tokens\n"
        "sys.exit(any(name in sys.modules for name in ('textual', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


LIGHT_GROUND = Ground((0, 0, 0), ((255, 255, 255),))


@pytest.mark.parametrize("ground", [DARK, LIGHT_GROUND], ids=["dark", "light"])
def test_with_sixteen_colours_the_strongest_cell_stands_out_most(ground: Ground) -> None:
    def seen(step: int) -> float:
        """The lightness of a cell: its shade mixes the two colours."""
        text, style = palette(Depth.SIXTEEN, ground).fill(step)
        share = " ░▒▓█".index(text) / 4
        return share * _light(style, front=True) + (1 - share) * _light(style)

    lights = [seen(step) for step in range(LEVELS)]
    away = lights if ground is DARK else [-light for light in lights]
    assert all(a <= b for a, b in pairwise(away))
    assert abs(lights[-1] - lightness(ground.backs[0])) > 0.8
    numbers = [_light(palette(Depth.SIXTEEN, ground).sequential(step)) for step in range(LEVELS)]
    assert all((a <= b) if ground is DARK else (a >= b) for a, b in pairwise(numbers))
    for sign in (-1, 1):
        both = [_light(palette(Depth.SIXTEEN, ground).diverging(sign * step)) for step in range(1, HALF + 1)]
        assert all((a <= b) if ground is DARK else (a >= b) for a, b in pairwise(both))


@pytest.mark.parametrize("ground", [DARK, LIGHT_GROUND], ids=["dark", "light"])
def test_the_sixteen_colours_reach_the_terminal_as_they_are(ground: Ground) -> None:
    look = palette(Depth.SIXTEEN, ground)
    styles = [look.fill(step)[1] for step in range(LEVELS)] + [look.mark, look.bad, look.clean, look.dim, look.selected]
    for color in (each for style in styles for each in (style.color, style.bgcolor) if each is not None):
        assert color.triplet is not None  # a name would become what the theme thinks of it
        assert STANDARD[color.downgrade(ColorSystem.STANDARD).number or 0] == tuple(color.triplet)


@pytest.mark.parametrize("depth", [Depth.SIXTEEN, Depth.EIGHT_BIT, Depth.TRUE])
@pytest.mark.parametrize("name", [name for name in THEMES if name in OFFERED])
def test_text_is_legible_in_every_theme_that_is_offered(name: str, depth: Depth) -> None:
    theme = OFFERED[name]
    look = palette(depth, ground(theme), hues(theme))
    for role in ("plain", "dim", "mark", "bad", "clean", "edited", "good", "accent"):
        style = getattr(look, role)
        worst = min(contrast(_light(style, front=True), lightness(back)) for back in look.ground.backs)
        assert worst >= 4.5, f"{role} in {name}: {worst:.2f}"
    cells = [look.sequential(step) for step in range(LEVELS)]
    cells += [look.diverging(step) for step in range(-HALF, HALF + 1) if step]
    assert min(contrast(_light(each, front=True), _light(each)) for each in cells) >= 4.5
