"""Where runs begin, and which traces stay: decided without a model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from hypothesis import given
from hypothesis import strategies as st

from mechtui.engine.needs import Need
from mechtui.engine.pieces import Pieces
from mechtui.engine.resume import Start, plan
from mechtui.engine.trace import Trace
from mechtui.engine.trace_store import MOST_TRACES, TraceStore
from mechtui.session.hook_edits import HookEdit, HookEdits, Ids

N_LAYERS = 4
HOOKS = ("hook_resid_pre", "attn.hook_q", "attn.hook_z", "hook_mlp_out")
EARLY = HOOKS[:2]


def trace(ids: Ids, edits: HookEdits = (), resumable: bool = True, numbers: int = 1) -> Trace:
    """numbers: float32 values that it holds."""
    return Trace(ids, edits, [Pieces(torch.zeros(1, 1, numbers))], [], [] if resumable else None)


def zero(layer: int, hook: str, positions: Sequence[int]) -> HookEdit:
    return HookEdit("zero", f"blocks.{layer}.{hook}", layer, None, tuple((p, None) for p in positions))


def begins(ids: Ids, edits: HookEdits, traces: Sequence[Trace], needs: Sequence[Need] = (), at_z: bool = True) -> Start:
    return plan(ids, edits, needs, traces, N_LAYERS, lambda _trace, _layer: at_z)


LENGTHS = st.integers(1, 6)
TEXTS = st.lists(st.integers(0, 1), min_size=1, max_size=6).map(tuple)


@st.composite
def edit_lists(draw: st.DrawFn) -> HookEdits:
    chosen = draw(st.lists(st.tuples(st.integers(0, N_LAYERS - 1), st.sampled_from(HOOKS)), max_size=2, unique=True))
    places = st.sets(st.integers(0, 5), min_size=1, max_size=3).map(sorted)
    return tuple(zero(layer, hook, draw(places)) for layer, hook in sorted(chosen))


def same(one: HookEdits, two: HookEdits, layer: int, position: int, hooks: Sequence[str] = HOOKS) -> bool:
    """Whether both do the same in a block at a position, as far as they act at these hooks."""
    does = [
        {
            (a.hook, p)
            for a in each
            for p, _ in a.places
            if a.layer == layer and p == position and a.hook.endswith(hooks)
        }
        for each in (one, two)
    ]
    return does[0] == does[1]


@given(TEXTS, edit_lists(), st.lists(st.tuples(TEXTS, edit_lists()), max_size=4), st.booleans())
def test_what_is_not_run_again_is_the_same(
    ids: Ids, edits: HookEdits, runs: list[tuple[Ids, HookEdits]], at_z: bool
) -> None:
    traces = [trace(*run) for run in runs]
    start = begins(ids, edits, traces, at_z=at_z)
    if start.parent is None:
        assert (start.layer, start.position) == (-1, 0)
        return
    parent = start.parent
    if start.layer >= 0:
        assert parent.ids == ids
        for layer in range(start.layer):
            assert all(same(edits, parent.edits, layer, p) for p in range(6))
        if start.at_z:
            assert at_z
            assert all(same(edits, parent.edits, start.layer, p, EARLY) for p in range(6))
    else:
        assert 0 < start.position < len(ids)
        assert parent.ids[: start.position] == ids[: start.position]
        for layer in range(N_LAYERS):
            assert all(same(edits, parent.edits, layer, p) for p in range(start.position))


@given(TEXTS, edit_lists(), edit_lists())
def test_the_latest_of_those_that_leave_as_much_to_run_is_the_parent(
    ids: Ids, edits: HookEdits, other: HookEdits
) -> None:
    first, second = trace(ids, other, resumable=False), trace(ids, other, resumable=False)
    start = begins(ids, edits, [first, second])
    assert start.parent in ((None, second) if start.layer < 0 else (second,))


def test_an_edit_at_the_end_of_a_long_text_begins_at_its_position() -> None:
    ids = tuple(range(100))
    start = begins(ids, (zero(0, "hook_resid_pre", [98]),), [trace(ids)])
    assert (start.layer, start.position) == (-1, 98)


def test_an_edit_in_the_last_block_begins_there_behind_its_heads_if_it_can() -> None:
    ids, edit, clean = (1, 2, 3), (zero(3, "attn.hook_z", [0]),), trace((1, 2, 3))
    assert begins(ids, edit, [clean]) == Start(clean, 3, at_z=True)
    assert begins(ids, edit, [clean], at_z=False) == Start(clean, 3)
    assert begins(ids, (zero(3, "attn.hook_q", [0]),), [clean]) == Start(clean, 3)
    # What is needed of before z is not there, so the block runs whole.
    pattern = Need("blocks.3.attn.hook_pattern")
    assert begins(ids, edit, [clean], needs=[pattern]) == Start(clean, 3)
    clean.taken[pattern] = torch.zeros(1)
    assert begins(ids, edit, [clean], needs=[pattern]) == Start(clean, 3, at_z=True)


def test_without_keys_and_values_nothing_begins_at_a_position() -> None:
    assert begins((1, 2, 3), (), [trace((1, 2), resumable=False)]) == Start()


def test_the_store_lets_go_of_what_was_used_least_recently() -> None:
    size = 4 * 100
    store = TraceStore(budget=3 * size)
    first, second, third, fourth = (trace((id,), numbers=100) for id in range(4))
    for each in (first, second, third):
        store.keep(each)
    assert store.bytes == 3 * size
    assert not store.has_room_for(1)
    store.touch(first)
    store.keep(fourth)
    assert list(store) == [third, first, fourth]
    assert store.known((1,), ()) is None
    assert store.known((0,), ()) is first
    store.forget()
    assert len(store) == store.bytes == 0


def test_the_store_counts_shared_tensors_once_and_keeps_two_whatever_they_hold() -> None:
    store = TraceStore(budget=400)
    first = trace((0,), numbers=100)
    second = Trace((1,), (), first.resid, [], [])
    store.keep(first)
    store.keep(second)
    assert store.bytes == 400
    store.keep(trace((2,), numbers=1000))
    assert [each.ids for each in store] == [(1,), (2,)]


def test_what_is_read_of_a_trace_later_counts_too() -> None:
    store = TraceStore(budget=4 * 400)
    first, second, third = (trace((id,), numbers=100) for id in range(3))
    for each in (first, second, third):
        store.keep(each)
    first.taken[Need("blocks.0.attn.hook_pattern")] = torch.zeros(300)
    store.grown(first, 1200)
    assert list(store) == [third, first]
    # One that is not kept, or not any more, counts for nothing.
    store.grown(second, 10**9)
    assert list(store) == [third, first]


def test_the_store_holds_no_more_traces_than_are_worth_a_comparison() -> None:
    store = TraceStore(budget=10**9)
    for id in range(MOST_TRACES + 5):
        store.keep(trace((id,)))
    assert [each.ids for each in store] == [(id,) for id in range(5, MOST_TRACES + 5)]
