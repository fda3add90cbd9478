"""Numbers to colours: which colours this terminal has, and one style for each of a few levels.

A sequential level is 0..15 (dark blue to light yellow), a diverging one -8..8 (blue, nothing, orange); a theme may have
other hues (`mechtui.paint.hues`). The strongest is what stands out most: lightness rises with the level on a dark
ground and falls on a light one. With few colours or none, shades and signs say what colour cannot.

Text is told apart by colour too; each colour is moved away from its ground until it is read easily (`LEGIBLE`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from enum import IntEnum
from functools import cache
from typing import NamedTuple

from rich.color import Color, ColorSystem
from rich.style import Style

from mechtui.paint import plain
from mechtui.paint.hues import BLACK, DEFAULT, GREY, HUES, STANDARD, WHITE, Ramp, Triplet, Word

LEVELS = 16
HALF = 8
SHADES = " ░▒▓█"


class Depth(IntEnum):
    """How many colours a terminal shows."""

    NONE = 0
    SIXTEEN = 16
    EIGHT_BIT = 256
    TRUE = 1 << 24


def detect(environ: Mapping[str, str]) -> Depth:
    """Depth from NO_COLOR (when not empty), COLORTERM and TERM, whose names say when a terminal has no colours (vt220,
    xterm-mono)."""
    term = environ.get("TERM", "").lower()
    if environ.get("NO_COLOR") or term == "dumb" or term.startswith("vt") or term.endswith(("-m", "-mono")):
        return Depth.NONE
    if environ.get("COLORTERM", "").strip().lower() in ("truecolor", "24bit"):
        return Depth.TRUE
    if term.endswith("-direct"):
        return Depth.TRUE
    if "256color" in term or term in ("xterm-kitty", "alacritty", "wezterm", "foot"):
        return Depth.EIGHT_BIT
    return Depth.SIXTEEN


# WCAG's contrast for text.
LEGIBLE = 4.5
DIM = 0.66
# Of a colour, what is left of it in its paler shade.
PALE = 0.45


def system(depth: Depth) -> ColorSystem | None:
    """What rich calls it."""
    if depth == Depth.NONE:
        return None
    return {Depth.SIXTEEN: ColorSystem.STANDARD, Depth.EIGHT_BIT: ColorSystem.EIGHT_BIT}.get(
        depth, ColorSystem.TRUECOLOR
    )


class Ground(NamedTuple):
    """What text stands on. front: its plain colour; backs: every background that it may have; accent: the colour
    of what is to be seen first."""

    front: Triplet
    backs: tuple[Triplet, ...]
    accent: Triplet = (255, 180, 84)

    @property
    def light(self) -> bool:
        return lightness(self.backs[0]) > lightness(self.front)


DARK = Ground((220, 215, 186), ((22, 22, 29), (31, 31, 40)))


def between(stops: tuple[Triplet, ...], at: float) -> Triplet:
    """The colour at 0..1 of the way along these."""
    place = at * (len(stops) - 1)
    left = min(int(place), len(stops) - 2)
    share = place - left
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(stops[left], stops[left + 1], strict=True))
    return red, green, blue


def lightness(color: Triplet) -> float:
    """Relative luminance (WCAG), 0..1."""
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (part / 255 for part in color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: float, b: float) -> float:
    """Contrast ratio (WCAG) of two lightnesses, 1..21."""
    return (max(a, b) + 0.05) / (min(a, b) + 0.05)


def legible(color: Triplet, backs: tuple[Triplet, ...], ratio: float = LEGIBLE) -> Triplet:
    """The colour, moved towards white or black no farther than text on these backgrounds needs it."""
    lights = [lightness(back) for back in backs]
    end = WHITE if contrast(1.0, max(lights)) > contrast(min(lights), 0.0) else BLACK
    for step in range(101):
        mixed = between((color, end), step / 100)
        if min(contrast(lightness(mixed), light) for light in lights) >= ratio:
            return mixed
    return end


def _sixteen(color: Triplet) -> Triplet:
    """The one of the sixteen that a terminal shows in place of a colour."""
    return STANDARD[Color.from_rgb(*color).downgrade(ColorSystem.STANDARD).number or 0]


def _on(color: Color) -> Style:
    """A background with black or white on it, whichever is read more easily."""
    triplet = color.get_truecolor()
    light = lightness((triplet.red, triplet.green, triplet.blue))
    front = (255, 255, 255) if contrast(1.0, light) > contrast(light, 0.0) else (0, 0, 0)
    if color.triplet is None:
        return Style(color=Color.from_ansi(231 if front[0] else 16), bgcolor=color)
    return Style(color=Color.from_rgb(*front), bgcolor=color)


def _front(color: Triplet) -> Style:
    return Style(color=Color.from_rgb(*color))


class Palette:
    """Styles for one colour depth on one ground, all made once. hues: which of `HUES`. ascii: whether the terminal has
    no other signs."""

    def __init__(self, depth: Depth, ground: Ground = DARK, hues: str = DEFAULT, ascii: bool = False) -> None:
        self.depth = depth
        self.ascii = ascii
        if depth == Depth.SIXTEEN:
            ground = Ground(_sixteen(ground.front), tuple(map(_sixteen, ground.backs)), _sixteen(ground.accent))
        self.ground = ground
        self._hues = HUES[hues]
        self._amounts, self._below, self._above = (each[ground.light] for each in self._hues[:3])
        self._ramp = tuple(_on(Color.from_rgb(*each)) for each in self._amounts.few)
        self._sequential = tuple(self._make_sequential(level) for level in range(LEVELS))
        self._diverging = {level: self._make_diverging(level) for level in range(-HALF, HALF + 1)}
        self._pale = {level: self._make_pale(style) for level, style in self._diverging.items()}
        plain = depth == Depth.NONE
        self.dim = Style(dim=True) if plain else _front(self._dimmed())
        self.plain = Style.null() if plain else _front(self._text(ground.front))
        self.bold = Style(bold=True)
        self.selected = Style(reverse=True, bold=plain)
        if depth == Depth.SIXTEEN or (ground.light and not plain):
            # A cell that is turned round may have two colours that are hardly told apart; on a light ground it may be
            # as pale as those beside it.
            self.selected = Style(
                color=Color.from_rgb(*ground.backs[0]), bgcolor=Color.from_rgb(*self._text(ground.front))
            )
        # A bar under the cursor stays a bar: turned round, the highest would be a gap.
        self.bar = Style(bold=True, underline=True)
        if not plain:
            mid = STANDARD[8] if depth == Depth.SIXTEEN else between((ground.backs[0], ground.front), 0.35)
            self.bar = Style(color=Color.from_rgb(*self._text(ground.front)), bgcolor=Color.from_rgb(*mid))
        self.row = Style(bold=True, underline=plain)
        self.edited = Style(bold=True) if plain else _front(self._named(self._hues.edited))
        self.mark = self.edited + self.bold
        self.bad = Style(bold=True) if plain else _front(self._named(self._hues.bad)) + self.bold
        self.clean = Style.null() if plain else _front(self._named(self._hues.clean))
        self.good = Style.null() if plain else _front(self._named(self._hues.good))
        self.accent = Style.null() if plain else _front(self._text(ground.accent))

    def sequential(self, level: int) -> Style:
        """Background for level 0..15."""
        return self._sequential[level]

    def diverging(self, level: int) -> Style:
        """Background for level -8 (blue) .. 0 (nothing) .. 8 (orange)."""
        return self._diverging[level]

    def pale(self, level: int) -> Style:
        """The same paler, for what is only estimated; without a colour of its own where few colours are told apart."""
        return self._pale[level]

    def shade(self, level: int, levels: int = LEVELS) -> str:
        """` ░▒▓█` for level 0..levels-1."""
        return SHADES[min(level * len(SHADES) // levels, len(SHADES) - 1)]

    def fill(self, level: int, wide: int = 1) -> tuple[str, Style]:
        """A cell without a number at level 0..15: its text and style."""
        if self.depth == Depth.NONE:
            return self.shade(level) * wide, Style.null()
        if self.depth > Depth.SIXTEEN:
            return " " * wide, self.sequential(level)
        # Between two colours of the ramp, the stronger one is mixed in by shades.
        place = level / (LEVELS - 1) * (len(self._ramp) - 1)
        low = min(int(place), len(self._ramp) - 2)
        shade = round((place - low) * (len(SHADES) - 1))
        if shade == len(SHADES) - 1:
            return " " * wide, self._ramp[low + 1]
        return SHADES[shade] * wide, Style(color=self._ramp[low + 1].bgcolor, bgcolor=self._ramp[low].bgcolor)

    @property
    def shaded(self) -> bool:
        """Whether shades must say what colours would."""
        return self.depth == Depth.NONE

    def _text(self, color: Triplet) -> Triplet:
        if self.depth > Depth.SIXTEEN:
            return legible(color, self.ground.backs)
        return self._first_legible((_sixteen(color),))

    def _named(self, word: Word) -> Triplet:
        if self.depth > Depth.SIXTEEN:
            return legible(word.many, self.ground.backs)
        return self._first_legible(word.few)

    def _first_legible(self, colors: tuple[Triplet, ...]) -> Triplet:
        for color in (*colors, self.ground.front, GREY):
            if min(contrast(lightness(color), lightness(back)) for back in self.ground.backs) >= LEGIBLE:
                return color
        return BLACK if self.ground.light else WHITE

    def _dimmed(self) -> Triplet:
        """Plain text, paler as far as it stays legible."""
        back, front = self.ground.backs[0], self.ground.front
        if self.depth == Depth.SIXTEEN:
            return self._first_legible((GREY,))
        for step in range(int(DIM * 100), 101):
            mixed = between((back, front), step / 100)
            if min(contrast(lightness(mixed), lightness(each)) for each in self.ground.backs) >= LEGIBLE:
                return mixed
        return legible(front, self.ground.backs)

    def _make_sequential(self, level: int) -> Style:
        if self.depth == Depth.NONE:
            return Style.null()
        return self._of(self._amounts, level, LEVELS)

    def _make_diverging(self, level: int) -> Style:
        if level == 0 or self.depth == Depth.NONE:
            return Style.null()
        return self._of(self._below if level < 0 else self._above, abs(level) - 1, HALF)

    def _of(self, ramp: Ramp, at: int, count: int) -> Style:
        """The colour of step `at` of so many."""
        match self.depth:
            case Depth.SIXTEEN:
                return _on(Color.from_rgb(*ramp.few[at * len(ramp.few) // count]))
            case Depth.EIGHT_BIT:
                return _on(Color.from_ansi(ramp.numbers[at]))
            case _:
                return _on(Color.from_rgb(*between(ramp.stops, at / (count - 1))))

    def _make_pale(self, style: Style) -> Style:
        if style.bgcolor is None or self.depth in (Depth.NONE, Depth.SIXTEEN):
            return Style.null()
        full = style.bgcolor.get_truecolor()
        mixed = Color.from_rgb(*between((self.ground.backs[0], (full.red, full.green, full.blue)), PALE))
        return _on(mixed.downgrade(ColorSystem.EIGHT_BIT) if self.depth == Depth.EIGHT_BIT else mixed)


@cache
def palette(depth: Depth, ground: Ground = DARK, hues: str = DEFAULT, ascii: bool = False) -> Palette:
    return Palette(depth, ground, hues, ascii)


def of_terminal(ground: Ground = DARK, hues: str = DEFAULT) -> Palette:
    """The palette for the terminal that this process runs in."""
    return palette(detect(os.environ), ground, hues, plain.only_ascii())


def level(value: float, low: float, high: float) -> int | None:
    """0..15 for a value between low and high (clipped), which may be infinite; None for NaN."""
    if math.isnan(value):
        return None
    if not low < high or value <= low:
        return 0
    if value >= high:
        return LEVELS - 1
    return int((value - low) / (high - low) * LEVELS) if low > -math.inf else LEVELS - 1


def diverging_level(value: float, extent: float) -> int | None:
    """-8..8 for a value between -extent and extent (clipped), which may be infinite; 0 only for what is next to
    nothing; None for NaN."""
    if math.isnan(value):
        return None
    if not extent > 0 or abs(value) < extent / 64:
        return 0
    size = HALF if abs(value) >= extent else max(1, math.ceil(abs(value) / extent * HALF))
    return size if value > 0 else -size
