"""Every op has both halves: its file in the session, and what it does to tensors."""

from __future__ import annotations

from mechtui.engine.apply import VALUES
from mechtui.session.ops import ops


def test_every_op_has_a_file_and_a_function() -> None:
    assert set(VALUES) == set(ops())
