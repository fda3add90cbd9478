"""Themes: textual's that leave the heat maps readable, and one of our own."""

from __future__ import annotations

from textual.theme import Theme

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

# Names in the order in which the theme key takes them.
THEMES = (
    "mechtui",
    "textual-dark",
    "nord",
    "gruvbox",
    "tokyo-night",
    "solarized-dark",
    "textual-light",
    "textual-ansi",
)


def after(name: str) -> str:
    """The theme that follows."""
    return THEMES[(THEMES.index(name) + 1) % len(THEMES)] if name in THEMES else THEMES[0]
