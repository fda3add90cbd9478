"""ASCII forms: every sign that is painted has one, of one cell, and tokens are told apart."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual._border import BORDER_CHARS
from textual.scrollbar import ScrollBarRender

import mechtui
from mechtui.paint import plain
from mechtui.paint.plain import FORMS, form, wanted
from mechtui.paint.tokens import visible_text

ROOT = Path(mechtui.__file__).parent
# What is written elsewhere than on the screen, and data of languages.
NOT_PAINTED = ("embedded", "selftest", "bench", "export", "engine", "worker", "headless", "fitting")
FILES = ("compute.py", "example.py", "script.py", "plain.py", "frames.py")


def painted_signs() -> dict[str, str]:
    """Every sign in a text of the program, docstrings left out, with a file that has it."""
    found: dict[str, str] = {}
    for file in ROOT.rglob("*.py"):
        place = file.relative_to(ROOT)
        if place.parts[0] in NOT_PAINTED or place.name in FILES:
            continue
        if (text := file.read_text("utf-8")).isascii():
            continue
        tree = ast.parse(text)
        docs = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body
            if isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
                found |= {sign: str(place) for sign in node.value if not sign.isascii()}
    return found


def test_every_sign_that_is_painted_has_a_form() -> None:
    signs = painted_signs()
    assert len(signs) > 60
    signs |= dict.fromkeys("".join(ScrollBarRender.VERTICAL_BARS + ScrollBarRender.HORIZONTAL_BARS), "scroll bar")
    signs |= dict.fromkeys("".join(map("".join, BORDER_CHARS["round"])), "border")
    none = {sign: where for sign, where in signs.items() if plain.UNKNOWN in form(sign) and sign.isprintable()}
    # The signs of a control and of what has no shape say nothing more.
    assert set(none) <= {"␦", "␡"}, f"to be given a form in mechtui/paint/plain.py: {none}"


def test_signs_of_one_scale_stay_apart() -> None:
    for scale in (" ░▒▓█", " ▁▂▃▄▅▆▇█", "●○+×", "▸▾▴", "→←↑↓"):
        assert len(set(form(scale))) == len(scale)
    assert {sign for sign, found in FORMS.items() if found.isdigit()} == {"²"}, "which would be read as a number"


@given(st.text(st.characters(codec="utf-8")))
def test_a_form_is_ascii_and_has_as_many_cells(text: str) -> None:
    assert form(text).isascii()
    assert cell_len(form(text)) == cell_len(text) or not text.isprintable()


@given(st.text(max_size=3), st.text(max_size=3))
@example("\n", "\\n")
def test_tokens_are_told_apart(one: str, other: str) -> None:
    """As far as they are with all signs: there too an escape looks like the characters that it is written with."""
    all_signs = visible_text(one), visible_text(other)
    plain.use(True)
    try:
        few = form(visible_text(one)), form(visible_text(other))
    finally:
        plain.use(False)
    if "\\" not in one + other:
        assert (few[0] == few[1]) == (all_signs[0] == all_signs[1])


def test_a_space_and_what_looks_like_one() -> None:
    plain.use(True)
    try:
        assert form(visible_text(" to")) == "~to"
        assert form(visible_text("~to")) == r"\x7eto"
        assert form(visible_text("東\n\té")) == r"\u6771\n\t\xe9"
        with plain.elsewhere():
            assert visible_text("東 é") == "東·é"
    finally:
        plain.use(False)
    assert form("a · b ·to ·") == "a . b ~to ."
    assert form("╭─ Heads ─╮") == "+- Heads -+"
    assert form("東x") == "??x"


@pytest.mark.parametrize(
    ("signs", "environ", "ascii"),
    [
        ("auto", {}, False),
        ("auto", {"LANG": "en_US.UTF-8"}, False),
        ("auto", {"LANG": "de_DE.utf8"}, False),
        ("auto", {"LANG": "C"}, True),
        ("auto", {"LANG": "C", "LC_CTYPE": "C.UTF-8"}, True),
        ("auto", {"LC_CTYPE": "C.UTF-8"}, False),
        ("auto", {"LANG": "de_DE.ISO-8859-1", "LC_CTYPE": "de_DE.UTF-8"}, False),
        ("auto", {"LC_ALL": "POSIX", "LANG": "en_US.UTF-8"}, True),
        ("auto", {"LANG": "en_US.ISO-8859-15"}, True),
        ("auto", {"TERM": "vt220", "LANG": "en_US.UTF-8"}, True),
        ("unicode", {"LANG": "C"}, False),
        ("ascii", {"LANG": "en_US.UTF-8"}, True),
    ],
)
def test_which_terminals_have_ascii_only(signs: str, environ: dict[str, str], ascii: bool) -> None:
    assert wanted(signs, environ) is ascii
