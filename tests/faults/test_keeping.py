"""The disk fails at any call, once or from then on: one sentence, and nothing is lost."""

from __future__ import annotations

import pytest

from tests.faults.injector import broken, full, until_green
from tests.faults.keeping import RUNS


@pytest.mark.parametrize("lasts", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("what", RUNS)
def test_whichever_call_fails_nothing_is_lost(what: str, lasts: bool) -> None:
    assert until_green(RUNS[what], full if lasts else broken, lasts=lasts) > 5
