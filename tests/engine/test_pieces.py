"""What is kept in pieces is what it would be as one tensor."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mechtui.engine.pieces import MOST_PIECES, Pieces

Step = tuple[int, int]  # how many positions stay, at most; how many come after them
STEPS = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 3)), max_size=3 * MOST_PIECES)


def build(steps: list[Step]) -> tuple[Pieces, Tensor]:
    plain = torch.randn(1, 4, 2, generator=torch.Generator().manual_seed(0))
    pieces = Pieces(plain)
    for number, (most, count) in enumerate(steps, 1):
        position = min(most, plain.shape[1])
        after = torch.full((1, count, 2), float(number))
        plain = torch.cat([plain[:, :position], after], dim=1)
        pieces = pieces.continued(position, after)
    return pieces, plain


@given(STEPS)
def test_the_whole_is_what_was_put_together(steps: list[Step]) -> None:
    pieces, plain = build(steps)
    assert torch.equal(pieces.whole, plain)
    assert len(pieces.pieces) <= MOST_PIECES


@given(STEPS, st.integers(0, 50), st.none() | st.integers(0, 50))
def test_a_part_is_the_same_slice(steps: list[Step], begin: int, end: int | None) -> None:
    pieces, plain = build(steps)
    assert torch.equal(pieces.part(begin, end), plain[:, begin:end])


def test_runs_share_the_pieces_that_they_have_in_common() -> None:
    first = Pieces(torch.randn(1, 4, 2))
    longer = first.continued(4, torch.randn(1, 1, 2))
    assert longer.pieces[0].data_ptr() == first.pieces[0].data_ptr()
