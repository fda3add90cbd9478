"""TOML that anybody may have written."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mechtui import config
from mechtui.session import case_templates
from mechtui.session.cases import CasesError
from mechtui.session.storage import StorageError, loads
from mechtui.session.toml import MOST_PARTS, MOST_SIGNS, TomlError, parsed

PIECES = ("a", '"', "'", '"""', "'''", "\\", "\\u0041", "#", "\n", " ", ".", "=", " = ", "[", "]", ",", "1", "é", "a.b")


@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
@example("\\a.ba.ba.ba.b")
@example("'a.ba.ba.ba.b")
def test_it_says_what_tomllib_says(text: str) -> None:
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(TomlError, match="is not TOML"):
            parsed(text)
        return
    if text.count(".") < MOST_PARTS:
        assert parsed(text) == said


def test_what_looks_like_a_long_key_in_a_text_is_none() -> None:
    dots, signs = "a.b.c.d.e.f = 1", "=" * (MOST_SIGNS + 1)
    for text in (f"a = '{dots}'", f'a = "\\"{dots}"', f'a = """\n{dots}\\"""{dots}"""', f"# {dots}", f"a = '{signs}'"):
        assert parsed(text) == tomllib.loads(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a = " + "[" * 40_000, "nested too deeply"),
        ("a = " + "9" * 5000, "thousands of digits"),
        ("a" + ".a" * 20_000 + " = 1", "a key of more than 4 parts"),
        ('["a"' + ' . "a"' * 20_000 + "]", "a key of more than 4 parts"),
        ("[[a]]\n" * MOST_SIGNS, "more than 50,000 values"),
    ],
)
def test_what_would_take_for_ever_is_refused_in_a_sentence_wherever_it_stands(
    text: str, why: str, tmp_path: Path
) -> None:
    path = tmp_path / "some.toml"
    path.write_text(text)
    with pytest.raises(StorageError, match=f"the session .*{why}"):
        loads(text)
    with pytest.raises(config.ConfigError, match=f"some.toml .*{why}"):
        config.read_file(path)
    with pytest.raises(CasesError, match=f"some.toml .*{why}"):
        case_templates.parse(text, "some.toml")
