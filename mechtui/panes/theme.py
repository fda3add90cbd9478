"""Themes: textual's that leave the heat maps readable, and our own: one for every day, and for those who do not tell
red from green, or blue from yellow, one each on a dark and on a light ground."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from textual.app import App
from textual.color import Color
from textual.theme import BUILTIN_THEMES, Theme

from mechtui.config import nearest
from mechtui.paint.hues import BLUE_YELLOW, DEFAULT, RED_GREEN
from mechtui.paint.palette import DARK, Ground, Palette, of_terminal
from mechtui.session.grammar.words import short
from mechtui.visible import seen

MECHTUI = Theme(
    name="mechtui",
    primary="#7fb4ca",
    secondary="#7aa89f",
    accent="#ffb454",
    warning="#ffb454",
    error="#ff7a6b",
    success="#98bb6c",
    foreground="#dcd7ba",
    background="#16161d",
    surface="#1a1a22",
    panel="#1f1f28",
    dark=True,
)


def _safe(hues: str, dark: bool, primary: str, accent: str, bad: str, good: str) -> Theme:
    grounds = ("#16161d", "#1a1a22", "#1f1f28") if dark else ("#ffffff", "#f4f4f7", "#ececf1")
    return Theme(
        name=hues if dark else f"{hues}-light",
        primary=primary,
        secondary=primary,
        accent=accent,
        warning=accent,
        error=bad,
        success=good,
        foreground="#dcd7ba" if dark else "#1b1b22",
        background=grounds[0],
        surface=grounds[1],
        panel=grounds[2],
        dark=dark,
    )


OWN = (
    MECHTUI,
    _safe(RED_GREEN, True, "#56b4e9", "#f0be28", "#d66e46", "#d7ebff"),
    _safe(RED_GREEN, False, "#0b62a8", "#7a5800", "#a03a00", "#0b62a8"),
    _safe(BLUE_YELLOW, True, "#46d7cd", "#ff96a0", "#ff5028", "#c8f0a0"),
    _safe(BLUE_YELLOW, False, "#005458", "#961432", "#a02800", "#1e6a1e"),
)
_HUES = {OWN[1].name: RED_GREEN, OWN[2].name: RED_GREEN, OWN[3].name: BLUE_YELLOW, OWN[4].name: BLUE_YELLOW}

# Names in the order in which the theme key takes them.
THEMES = (
    *(theme.name for theme in OWN),
    "textual-dark",
    "nord",
    "gruvbox",
    "tokyo-night",
    "solarized-dark",
    "textual-light",
    "ansi-dark",
)


def after(name: str, available: Collection[str]) -> str:
    """The theme that follows. available: those that this version of textual has."""
    themes = [theme for theme in THEMES if theme in available]
    return themes[(themes.index(name) + 1) % len(themes)] if name in themes else themes[0]


def names() -> tuple[str, ...]:
    """Of all themes that can be set."""
    return (*(theme.name for theme in OWN), *BUILTIN_THEMES)


def unknown(name: str) -> str:
    """What is wrong with a theme's name; empty where there is such a theme, or none is named."""
    if not name or name in names():
        return ""
    near = nearest(name, names())
    hint = f"did you mean {near}? " if near else ""
    return f"there is no theme {seen(short(name))}; {hint}themes are {', '.join(names())}"


# Where text stands: the panes, the lines above and below them, what one types into.
BACKS = ("background", "panel", "surface")
# A theme that leaves its colours to the terminal: dark or light is all that is known of it.
LIGHT = Ground((0, 0, 0), ((255, 255, 255),), (0, 90, 160))


def ground(theme: Theme) -> Ground:
    """What a theme's text stands on."""
    colors = theme.to_color_system().generate()
    front, accent, *backs = (Color.parse(colors[name]) for name in ("foreground", "accent", *BACKS))
    if any(color.ansi is not None or color.a < 1 for color in (front, accent, *backs)):
        return DARK if theme.dark else LIGHT
    return Ground(front.rgb, tuple(back.rgb for back in backs), accent.rgb)


def legible_names(theme: Theme) -> dict[str, str]:
    """The style sheet's own names of colours that text can have: legible, legible-accent, legible-dim."""
    look = of_terminal(ground(theme))
    styles = {"legible": look.plain, "legible-accent": look.accent, "legible-dim": look.dim}
    found = {name: style.color for name, style in styles.items()}
    plain = theme.to_color_system().generate()["foreground"]
    return {name: Color(*color.get_truecolor()).hex if color else plain for name, color in found.items()}


def hues(theme: Theme) -> str:
    """Which of `mechtui.paint.hues.HUES` a theme has."""
    return _HUES.get(theme.name, DEFAULT)


_grounds: dict[str, Ground] = {}


def palette(app: App[Any]) -> Palette:
    """The styles for the app's present theme on its terminal."""
    if app.theme not in _grounds:
        # Textual works a theme's colours out anew whenever it is asked.
        _grounds[app.theme] = ground(app.current_theme)
    return of_terminal(_grounds[app.theme], hues(app.current_theme))
