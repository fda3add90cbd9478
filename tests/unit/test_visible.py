"""What counts as hidden, character by character, and the ways to show it."""

from __future__ import annotations

import io
import json
import sys
import tomllib
import traceback

import pytest

from mechtui import visible
from mechtui.console import VisibleConsole
from mechtui.visible import Shown, harmless, json_escaped, seen, signs, toml_escaped
from tests.hidden import KINDS, hidden, left_over


def test_every_character_of_unicode_that_is_hidden_is_shown() -> None:
    all_hidden = "".join(char for char in map(chr, range(sys.maxunicode + 1)) if hidden(char))
    assert not [hex(ord(char)) for char in all_hidden if harmless(char)]
    # Each is written by itself, so what is written of all of them is what is written of each.
    in_signs = signs(all_hidden)
    assert len(in_signs) == len(all_hidden)
    assert not [hex(ord(char)) for char in {*in_signs, *seen(all_hidden)} if hidden(char)]


@pytest.mark.parametrize("text", ["", "When Mary", "naïve ┃ █▓▒ ·⏎", "中文 한국어 हिन्दी עברית עَرَبي Việt e\u0301", "😀"])
def test_what_is_read_as_it_stands_stays_as_it_is(text: str) -> None:
    assert harmless(text)
    assert seen(text) == signs(text) == json_escaped(text) == text


def test_the_spellings() -> None:
    assert seen("a\x1b\t\n\r\x9b\u202e\ud800\U000e0041 b") == r"a\x1b⇥⏎\r\x9b\u202e\ud800\U0e0041 b"
    assert seen("a\nb\x1b", keep="\n") == "a\nb\\x1b"
    assert signs("a\x00\x1b\t\n\x7f\x9b\u202e\u3000b") == "a␀␛⇥⏎␡␦␦␣b"


@pytest.mark.parametrize("text", KINDS.values(), ids=KINDS)
def test_json_keeps_its_value(text: str) -> None:
    written = json_escaped(json.dumps({text: [text]}, ensure_ascii=False))
    assert not left_over(written, "")
    assert json.loads(written) == {text: [text]}


@pytest.mark.parametrize("text", [text for kind, text in KINDS.items() if kind != "surrogates"])
def test_toml_keeps_its_value(text: str) -> None:
    # TOML itself wants the controls escaped.
    plain = "".join(char for char in text if char > "\x9f")
    written = toml_escaped(f'a = "{plain}"\nb = ["{plain}"]')
    assert not left_over(written)
    assert tomllib.loads(written) == {"a": plain, "b": [plain]}


@pytest.mark.parametrize("text", KINDS.values(), ids=KINDS)
def test_streams_and_consoles_show_what_is_printed(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    beneath = io.StringIO()
    monkeypatch.setattr(sys, "stderr", beneath)
    visible.guard()
    visible.guard()
    assert isinstance(sys.stderr, Shown)
    print(text, file=sys.stderr)
    try:
        raise ValueError(text)
    except ValueError:
        sys.excepthook(*sys.exc_info())
        traceback.print_exc()
    console = VisibleConsole(beneath, force_terminal=True, color_system="truecolor", markup=False)
    console.print(f"[red]{text}", style="bold blue")
    assert not left_over(beneath.getvalue())
    assert "\x1b[1;" in beneath.getvalue()
    assert beneath.getvalue().count("ValueError: ") == 2
