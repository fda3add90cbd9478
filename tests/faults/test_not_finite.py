"""Numbers that are none: panes show them, or leave them blank where none was computed, and a run of sound weights that
gives them is one sentence."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from textual._context import NoActiveAppError

from mechtui.app.board import pane_class
from mechtui.app.workspaces import panes
from mechtui.paint.nans import show_nans
from mechtui.panes.pane import Pane
from mechtui.views import example_of
from tests.panes.pictures import pictured
from tests.panes.test_panes import drawn

ODD = {"no number": (math.nan,), "infinite": (math.inf, -math.inf), "all kinds": (math.nan, math.inf, -1e38, -math.inf)}

# In the title; texts; logit differences that the history has kept; a list of the strongest, which has none then.
WITHOUT_NUMBERS = {"tokens", "generate", "history", "composition"}


def spoiled(value: Any, odd: cycle[float]) -> Any:
    """The same with these in the place of all that are no counts."""
    if isinstance(value, msgspec.Struct):
        return replace(value, **{name: spoiled(getattr(value, name), odd) for name in value.__struct_fields__})
    if isinstance(value, tuple):
        made = [spoiled(each, odd) for each in value]
        return type(value)(*made) if hasattr(value, "_fields") else tuple(made)
    if isinstance(value, np.ndarray) and value.dtype.kind == "f" and not (value == value.round()).all():
        return np.array([next(odd) for _ in range(value.size)], dtype=value.dtype).reshape(value.shape)
    return next(odd) if isinstance(value, float) else value


@pytest.fixture(params=[False, True], ids=["sound weights", "NaN in the weights"])
def weights_hold_nan(request: pytest.FixtureRequest) -> Iterator[bool]:
    show_nans(request.param)
    yield request.param
    show_nans(False)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # that infinity less itself is none
@pytest.mark.parametrize("name", panes())
@pytest.mark.parametrize("what", ODD)
def test_a_pane_shows_what_is_no_number(name: str, what: str, weights_hold_nan: bool) -> None:
    example = example_of(name)
    odd = cycle(ODD[what])
    answers = {side: spoiled(getattr(example, side), odd) for side in ("clean", "edited")}
    pane: Pane = pane_class(name)()
    picture = pictured(dataclasses.replace(example, **answers))
    pane.show(picture)
    for size in ((28, 6), (80, 24), (200, 55)):
        lines = drawn(pane, picture, *size)
        assert "\n" not in "".join(lines)
        if what == "no number" and weights_hold_nan and size == (200, 55):
            assert ("nan" in "\n".join(lines)) == (name not in WITHOUT_NUMBERS)
    for move in ((1, 0), (0, 1), (-1, 0)):
        with suppress(NoActiveAppError):  # a text has no cursor: it is scrolled, on a screen
            pane.move(*move)
        pane.value()
        pane.row()
