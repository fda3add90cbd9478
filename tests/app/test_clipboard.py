"""What is copied reaches the terminal through what stands between, as far as that lets it, and no more is promised."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechtui.app import clipboard
from mechtui.app.clipboard import LIMIT, SCREEN_LIMIT, Between, between, sequences, to_tmux
from tests.app.answering import app, idle
from tests.app.test_app import SIZE, screen


@pytest.mark.parametrize(
    ("environ", "where"),
    [
        ({"TERM": "xterm-256color"}, Between.NOTHING),
        ({"TERM": "screen-256color", "TMUX": "/tmp/tmux-0/default,1,0"}, Between.TMUX),
        ({"TERM": "screen.xterm-256color", "STY": "1.pts-0.host"}, Between.SCREEN),
        ({"TERM": "tmux-256color"}, Between.FAR),
        ({"TERM": "screen"}, Between.FAR),
        ({}, Between.NOTHING),
    ],
)
def test_what_stands_between(environ: dict[str, str], where: Between) -> None:
    assert between(environ) is where


def outside(sent: str, where: Between) -> list[str]:
    """The strings that come out of tmux (which lets them through) or screen at the terminal's side."""
    if where is Between.TMUX:
        parts = re.findall(r"\x1bPtmux;((?:[^\x1b]|\x1b\x1b)*)\x1b\\", sent)
        return [part.replace("\x1b\x1b", "\x1b") for part in parts]
    parts = re.findall(r"\x1bP((?:[^\x1b]|\x1b(?!\\))*)\x1b\\", sent)
    assert all(len(part) <= SCREEN_LIMIT for part in parts)
    return ["".join(parts)]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=900), st.sampled_from([Between.TMUX, Between.SCREEN]))
def test_it_comes_out_as_it_went_in(text: str, where: Between) -> None:
    (found,) = outside("".join(sequences(text, where)), where)
    said = re.fullmatch(r"\x1b\]52;c;([A-Za-z0-9+/=]*)\x07", found)
    assert said is not None
    assert base64.b64decode(said[1]).decode() == text


def test_without_anything_between_it_is_one_sequence() -> None:
    assert list(sequences("Mary", Between.NOTHING)) == ["\x1b]52;c;TWFyeQ==\a"]
    assert next(iter(sequences("Mary", Between.FAR))) == "\x1b]52;c;TWFyeQ==\a"


# What a tmux of each kind does; `$@` is what it is asked, and it keeps what it is given.
TMUX = {
    "3.3": (
        'cat > "$KEPT"; echo external',
        " through tmux; where the terminal takes none, tmux's prefix and ] paste it",
    ),
    "off": ('cat > "$KEPT"; echo off', " into tmux alone, whose set-clipboard is off: tmux's prefix and ] paste it"),
    "3.1": ('case "$*" in *-w*) exit 1;; esac; cat > "$KEPT"', " into tmux: tmux's prefix and ] paste it"),
    "gone": ("exit 1", "; tmux passes it on where set-clipboard is on"),
}


@pytest.fixture
def tmux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a tmux that a test writes keeps what it is given."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("KEPT", str(tmp_path / "kept"))
    monkeypatch.setenv("TMUX", "/nowhere,1,0")
    return tmp_path / "kept"


def write(kept: Path, which: str) -> None:
    program = kept.with_name("tmux")
    program.write_text(f"#!/bin/sh\n{TMUX[which][0]}\n")
    program.chmod(0o755)


@pytest.mark.parametrize("which", TMUX)
def test_tmux_is_asked_and_what_it_does_is_said(tmux: Path, which: str) -> None:
    write(tmux, which)
    text = "a\nb" * 3000
    assert to_tmux(text) == TMUX[which][1]
    assert (tmux.read_text() if tmux.exists() else None) == (None if which == "gone" else text)


async def test_in_tmux_the_sentence_after_the_copy_says_how_far_it_came(
    tmux: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    write(tmux, "3.3")
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        it.copy("Mary")
        assert "Copied 'Mary'; tmux passes it on where set-clipboard is on" in it.said[0]
        await it.errands.done()
        await idle(pilot)
        assert "Copied 'Mary' through tmux; where the terminal takes none" in screen(it)
        assert tmux.read_text() == "Mary"


def test_a_copy_that_is_too_long_is_refused_before_tmux_is_asked(tmux: Path) -> None:
    write(tmux, "3.3")
    with pytest.raises(clipboard.TooLongError):
        clipboard.fitting("x" * (LIMIT + 1))
    assert not tmux.exists()
