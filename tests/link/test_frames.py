"""Frames: what is encoded is decoded, however the bytes arrive."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechtui.link.frames import HEADER, LIMIT, BrokenFrameError, Splitter, decode_reply, decode_request, encode
from mechtui.link.messages import Answered, Ask, Cancel, Failed, Load, Reply, Stage
from mechtui.session.document import Session
from mechtui.views.attention import Attention, AttentionAnswer


@given(st.lists(st.binary(max_size=20), max_size=8), st.lists(st.integers(1, 9), max_size=60))
def test_frames_survive_any_cutting(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(HEADER.pack(len(body)) + body for body in bodies)
    splitter, found = Splitter(), []
    at = 0
    for cut in cuts:
        found += splitter.feed(stream[at : at + cut])
        at += cut
    found += splitter.feed(stream[at:])
    assert found == bodies


def test_requests_round_trip() -> None:
    session = Session(prompt="日本語 \x00 🙂", views=("residual",))
    for request in (Load("gpt2"), Ask(3, session, (Attention(1, 2),)), Cancel("fetch")):
        assert decode_request(encode(request)[HEADER.size :]) == request


def test_replies_round_trip() -> None:
    for reply in (Stage("load", "reading weights", 0.5), Failed("ask", "no", 3, question=Attention(0, 1))):
        assert decode_reply(encode(reply)[HEADER.size :]) == reply


@pytest.mark.parametrize("shape", [(3, 3), (0, 0), (1, 1)])
def test_arrays_keep_shape_type_and_bits(shape: tuple[int, int]) -> None:
    table = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    table[:1] = np.nan
    reply: Reply = Answered(1, Attention(0, 0), AttentionAnswer("pattern", table.T), None, 1.0)
    back = decode_reply(encode(reply)[HEADER.size :])
    assert isinstance(back, Answered)
    assert isinstance(back.clean, AttentionAnswer)
    np.testing.assert_array_equal(back.clean.table, table.T)
    assert back.clean.table.dtype == np.float32


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(BrokenFrameError, match="none of ours"):
        decode_request(b"\x82\xa7message\xa4quit\xa1x" + b"\x91" * 100_000)
    reply = encode(Answered(1, Attention(0, 0), AttentionAnswer("pattern", np.ones((1, 1), np.float32)), None, 1.0))
    for dtype in (b",,,", b"|O8", b"<U1"):
        with pytest.raises(BrokenFrameError, match="is no type of numbers"):
            decode_reply(reply[HEADER.size :].replace(b"<f4", dtype))
    with pytest.raises(BrokenFrameError, match="a frame says it has"):
        list(Splitter().feed(HEADER.pack(LIMIT + 1)))
    with pytest.raises(BrokenFrameError, match="is none of ours"):
        decode_reply(b"\x81\xa7message\xa3nix")
    with pytest.raises(BrokenFrameError, match="is none of ours"):
        decode_request(b"")
