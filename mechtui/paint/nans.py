"""Which NaN is painted: of a model whose weights hold some, all that do not say that they are not there; of any other
none, since there NaN only ever stands for what was not computed."""

from __future__ import annotations

import math

import numpy as np

from mechtui.none import absent, is_none

_STATE = {"shown": False}


def show_nans(shown: bool) -> None:
    """Of all pictures from now on."""
    _STATE["shown"] = shown


def nan_shown(value: float) -> bool:
    """Whether this is a NaN that is to be seen."""
    return _STATE["shown"] and math.isnan(value) and not is_none(value)


def nan_text(value: float, width: int | None = None) -> str:
    """Of a NaN: `nan`, as much of it as `width` cells hold, right-aligned; blank where it is not to be seen."""
    text = "nan" if nan_shown(value) else ""
    return text if width is None else text[:width].rjust(width)


def blank(values: np.ndarray) -> np.ndarray:
    """Of an array, which NaN are painted as nothing."""
    return absent(values) if _STATE["shown"] else np.isnan(values)
