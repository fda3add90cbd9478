"""Numbers to colours: which colours this terminal has, and one style for each of a few levels.

A sequential level is 0..15 (dark blue to light yellow, lightness rising with the level), a diverging one
-8..8 (blue, nothing, orange). With few colours or none, shades and signs say what colour cannot.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from enum import IntEnum
from functools import cache

from rich.color import Color
from rich.style import Style

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
    """Depth from NO_COLOR (when not empty), COLORTERM and TERM."""
    term = environ.get("TERM", "").lower()
    if environ.get("NO_COLOR") or term == "dumb":
        return Depth.NONE
    if environ.get("COLORTERM", "").strip().lower() in ("truecolor", "24bit"):
        return Depth.TRUE
    if term.endswith("-direct"):
        return Depth.TRUE
    if "256color" in term or term in ("xterm-kitty", "alacritty", "wezterm", "foot"):
        return Depth.EIGHT_BIT
    return Depth.SIXTEEN


Triplet = tuple[int, int, int]

# After cividis (Nunez, Anderton and Renslow 2018), which reads alike with and without red-green vision.
_SEQUENTIAL: tuple[Triplet, ...] = (
    (0, 32, 77),
    (0, 51, 111),
    (57, 72, 107),
    (87, 92, 109),
    (112, 113, 115),
    (138, 135, 121),
    (166, 157, 117),
    (196, 181, 108),
    (228, 207, 91),
    (255, 234, 70),
)
_BLUE: tuple[Triplet, ...] = ((24, 36, 64), (20, 80, 160), (110, 180, 255))
_ORANGE: tuple[Triplet, ...] = ((60, 36, 16), (170, 84, 0), (255, 180, 90))

# Chosen one by one from the 6x6x6 cube and the greys: rounding the ramps above merges their dark ends. All of
# them survive textual's turning them into red, green and blue and rich's rounding these back.
_SEQUENTIAL_256 = (17, 18, 23, 24, 60, 242, 66, 245, 246, 108, 144, 180, 186, 222, 227, 229)
_BLUE_256 = (17, 18, 24, 25, 31, 32, 74, 117)
_ORANGE_256 = (52, 58, 94, 130, 136, 172, 215, 222)

# (background, foreground) in the terminal's own sixteen, for quarters of the scale.
_SEQUENTIAL_16 = (None, ("blue", "white"), ("cyan", "black"), ("yellow", "black"))
_BLUE_16 = (None, ("blue", "white"), ("bright_blue", "black"))
_ORANGE_16 = (None, ("yellow", "black"), ("bright_yellow", "black"))


def _between(stops: tuple[Triplet, ...], at: float) -> Triplet:
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


def _on(color: Color) -> Style:
    """A background with black or white on it, whichever is read more easily."""
    triplet = color.get_truecolor()
    light = lightness((triplet.red, triplet.green, triplet.blue))
    front = (255, 255, 255) if contrast(1.0, light) > contrast(light, 0.0) else (0, 0, 0)
    if color.triplet is None:
        return Style(color=Color.from_ansi(231 if front[0] else 16), bgcolor=color)
    return Style(color=Color.from_rgb(*front), bgcolor=color)


def _named(pair: tuple[str, str] | None) -> Style:
    return Style.null() if pair is None else Style(color=pair[1], bgcolor=pair[0])


class Palette:
    """Styles for one colour depth, all made once."""

    def __init__(self, depth: Depth) -> None:
        self.depth = depth
        self._sequential = tuple(self._make_sequential(level) for level in range(LEVELS))
        self._diverging = {level: self._make_diverging(level) for level in range(-HALF, HALF + 1)}
        plain = depth == Depth.NONE
        self.dim = Style(dim=True)
        self.bold = Style(bold=True)
        self.selected = Style(reverse=True, bold=plain)
        self.row = Style(bold=True, underline=plain)
        self.mark = Style(bold=True) if plain else Style(color="yellow", bold=True)
        self.bad = Style(bold=True) if plain else Style(color="red", bold=True)
        self.clean = Style.null() if plain else Style(color="cyan")
        self.edited = Style(bold=True) if plain else Style(color="yellow")

    def sequential(self, level: int) -> Style:
        """Background for level 0..15."""
        return self._sequential[level]

    def diverging(self, level: int) -> Style:
        """Background for level -8 (blue) .. 0 (nothing) .. 8 (orange)."""
        return self._diverging[level]

    def shade(self, level: int, levels: int = LEVELS) -> str:
        """` ░▒▓█` for level 0..levels-1."""
        return SHADES[min(level * len(SHADES) // levels, len(SHADES) - 1)]

    @property
    def shaded(self) -> bool:
        """Whether shades must say what colours cannot."""
        return self.depth <= Depth.SIXTEEN

    def _make_sequential(self, level: int) -> Style:
        match self.depth:
            case Depth.NONE:
                return Style.null()
            case Depth.SIXTEEN:
                return _named(_SEQUENTIAL_16[level * len(_SEQUENTIAL_16) // LEVELS])
            case Depth.EIGHT_BIT:
                return _on(Color.from_ansi(_SEQUENTIAL_256[level]))
            case _:
                return _on(Color.from_rgb(*_between(_SEQUENTIAL, level / (LEVELS - 1))))

    def _make_diverging(self, level: int) -> Style:
        size = abs(level)
        if size == 0 or self.depth == Depth.NONE:
            return Style.null()
        match self.depth:
            case Depth.SIXTEEN:
                ramp = _BLUE_16 if level < 0 else _ORANGE_16
                return _named(ramp[min(size * len(ramp) // (HALF + 1), len(ramp) - 1)])
            case Depth.EIGHT_BIT:
                return _on(Color.from_ansi((_BLUE_256 if level < 0 else _ORANGE_256)[size - 1]))
            case _:
                return _on(Color.from_rgb(*_between(_BLUE if level < 0 else _ORANGE, (size - 1) / (HALF - 1))))


@cache
def palette(depth: Depth) -> Palette:
    return Palette(depth)


def of_terminal() -> Palette:
    """The palette for the terminal that this process runs in."""
    return palette(detect(os.environ))


def level(value: float, low: float, high: float) -> int | None:
    """0..15 for a value between low and high (clipped); None for NaN."""
    if math.isnan(value):
        return None
    if high <= low or value <= low:
        return 0
    return min(LEVELS - 1, int(min((value - low) / (high - low), 1.0) * LEVELS))


def diverging_level(value: float, extent: float) -> int | None:
    """-8..8 for a value between -extent and extent (clipped); 0 only for what is next to nothing; None for NaN."""
    if math.isnan(value):
        return None
    if extent <= 0 or abs(value) < extent / 64:
        return 0
    size = max(1, min(HALF, math.ceil(min(abs(value) / extent, 1.0) * HALF)))
    return size if value > 0 else -size
