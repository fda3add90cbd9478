"""What the documents show is what the program reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mechtui.app.workspaces import with_own
from mechtui.config import MEANINGS, NAMES, settings
from mechtui.documents import commands as commands_page
from mechtui.documents import settings as settings_page
from mechtui.documents import views as views_page
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.vectors import parse_vector
from mechtui.session.ops import ops
from mechtui.session.storage import loads
from mechtui.views import parse_question, specs

DOCS = Path(__file__).parents[2] / "docs"
LINES = (DOCS / "lines.md").read_text(encoding="utf-8")
CONFIGURATION = (DOCS / "configuration.md").read_text(encoding="utf-8")
# Pages that the program writes, and the command that does.
WRITTEN = {
    "settings": ("mechtui.documents.settings", settings_page.document),
    "commands": ("mechtui.documents.commands", commands_page.document),
    "views": ("mechtui.documents.views", views_page.document),
}


def section(title: str) -> str:
    return LINES.split(f"\n## {title}")[1].split("\n## ")[0]


def first_cells(text: str) -> list[str]:
    """The code of each table row's first cell, without the escapes that a table needs."""
    rows = re.findall(r"^\| (`.*?`) (?<!\\)\|", text, re.MULTILINE)
    return [line.replace("\\|", "|") for row in rows for line in re.findall(r"`([^`]*)`", row)]


def code(text: str) -> str:
    return text.split("```toml\n")[1].split("```", maxsplit=1)[0]


def test_every_edit_of_the_table_is_one() -> None:
    edits = [parse_edit(line) for line in first_cells(section("Edits"))]
    assert sorted(edit.op for edit in edits) == sorted(ops())


@pytest.mark.parametrize("line", first_cells(section("Steering vectors")))
def test_every_vector_of_the_table_is_one(line: str) -> None:
    parse_vector(line)


def test_every_question_has_a_row_that_parses() -> None:
    lines = [re.sub(r"\[([^\]|]*)[^\]]*\]", r"\1", line) for line in first_cells(section("Questions"))]
    names = {str(parse_question(line.replace("@POS", "@-1")).__struct_config__.tag) for line in lines}
    assert names == set(specs())


def test_the_session_file_is_one() -> None:
    assert loads(code(section("Session files"))).answer == " Mary"


def test_the_config_file_is_one(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(code(CONFIGURATION))
    said = settings({}, {}, path)
    assert said.model == "gpt2"
    names = [workspace.name for workspace in with_own(said.workspaces)]
    assert names == ["Look", "Explain", "Weights", "Units", "Steer", "Compare", "Mine"]


def test_every_setting_has_a_meaning() -> None:
    assert list(MEANINGS) == list(NAMES)


@pytest.mark.parametrize("page", WRITTEN)
def test_the_page_is_what_the_program_writes(page: str) -> None:
    command, document = WRITTEN[page]
    assert (DOCS / f"{page}.md").read_text("utf-8") == document(), f"python -m {command} > docs/{page}.md"


@pytest.mark.parametrize("file", [".ci/run", "justfile", "CONTRIBUTING.md", "docs/dev/testing.md", "README.md"])
def test_the_tests_that_are_named_exist(file: str) -> None:
    text = (DOCS.parent / file).read_text("utf-8")
    for named in re.findall(r"tests/[\w/*{},.-]*[\w*}]", text):
        head, _, rest = named.partition("{")
        each = (
            [f"{head}{one}{rest.partition('}')[2]}" for one in rest.partition("}")[0].split(",")] if rest else [named]
        )
        assert all(any(DOCS.parent.glob(one)) for one in each), named
