"""The alignment of prompt and source."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechtui.session.alignment import align
from mechtui.session.grammar.words import LineError

ids = st.lists(st.integers(0, 5), max_size=30)


@pytest.mark.parametrize(
    ("prompt", "source", "how", "expected"),
    [
        ([1, 2, 3], [7, 8, 9], "auto", (0, 1, 2)),  # equal length: one by one, whatever the tokens
        ([1, 2, 3, 4], [1, 9, 9, 3, 4], "auto", (0, -1, 3, 4)),  # one token stands where two stand
        ([1, 2, 3, 4, 5], [1, 9, 3, 4], "auto", (0, 1, 2, 3, -1)),  # a replaced run of equal length pairs up
        ([1, 2, 3], [1, 2], "left", (0, 1, -1)),
        ([1, 2, 3], [1, 2], "right", (-1, 0, 1)),
        ([1, 2], [1, 2, 3], "right", (1, 2)),
        ([1, 2, 3, 4], [1, 9, 9, 3, 4], "1>2", (0, 2, 3, 4)),
        ([1, 2, 3], [4, 5, 6], "0-1>1-2", (1, 2, -1)),  # a source token serves the pair that names it
        ([], [1], "auto", (-1,) * 0),
    ],
)
def test_align(prompt: list[int], source: list[int], how: str, expected: tuple[int, ...]) -> None:
    assert align(prompt, source, how) == expected


@given(ids, ids, st.sampled_from(["auto", "left", "right"]))
def test_partners_exist_and_keep_the_order(prompt: list[int], source: list[int], how: str) -> None:
    partners = align(prompt, source, how)
    assert len(partners) == len(prompt)
    paired = [p for p in partners if p >= 0]
    assert all(p < len(source) for p in paired)
    assert all(a < b for a, b in itertools.pairwise(paired))


@given(ids, st.sampled_from(["auto", "left", "right"]))
def test_equal_lengths_pair_one_by_one(prompt: list[int], how: str) -> None:
    assert align(prompt, list(reversed(prompt)), how) == tuple(range(len(prompt)))


@given(ids, ids)
def test_equal_tokens_at_the_start_pair_up(head: list[int], tail: list[int]) -> None:
    if tail:
        assert align(head, head + tail) == tuple(range(len(head)))


@pytest.mark.parametrize(
    ("how", "column", "problem"),
    [
        ("atuo", 0, "atuo is not an alignment; write auto, left, right or PROMPT>SOURCE positions, as in 3>4, 5-7>6-8"),
        ("1>1, 2", 5, "2 is not an alignment; write auto"),
        ("0>9", 2, "there is no position 9: the source has 3 tokens"),
        ("9>0", 0, "there is no position 9: the prompt has 3 tokens"),
        ("0-1>0-2", 0, "2 positions of the prompt cannot pair with 3 of the source"),
        ("2-1>0-1", 0, "2-1 runs backwards"),
    ],
)
def test_bad_alignments_are_refused(how: str, column: int, problem: str) -> None:
    with pytest.raises(LineError) as caught:
        align([1, 2, 3], [1, 2, 3], how)
    assert str(caught.value).startswith(problem)
    assert caught.value.column == column
