"""The grammar's names in one place, until nobody imports them from here."""

from __future__ import annotations

from mechtui.session.grammar.edits import format_edit, parse_edit
from mechtui.session.grammar.places import format_positions, format_site, parse_site
from mechtui.session.grammar.vectors import VECTOR_SOURCES, format_vector, parse_vector
from mechtui.session.grammar.words import (
    LARGEST,
    MOST,
    LineError,
    cut,
    decimal,
    format_number,
    quote,
    short,
    whole,
)
from mechtui.session.sites import HEAD_PARTS, LAYER_PARTS

__all__ = [
    "HEAD_PARTS",
    "LARGEST",
    "LAYER_PARTS",
    "MOST",
    "VECTOR_SOURCES",
    "LineError",
    "cut",
    "decimal",
    "format_edit",
    "format_number",
    "format_positions",
    "format_site",
    "format_vector",
    "parse_edit",
    "parse_site",
    "parse_vector",
    "quote",
    "short",
    "whole",
]
