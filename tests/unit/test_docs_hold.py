"""Links of the documents lead somewhere, and the commands, lines and keys that they show are such."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from mechtui.app.actions import ACTIONS
from mechtui.app.cases_line import names_cases
from mechtui.app.workspaces import Workspace, built_in
from mechtui.cli import cli
from mechtui.config import NAMES, ConfigError, settings
from mechtui.session.grammar.cases import check_cases
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.vectors import parse_vector
from mechtui.session.grammar.words import LineError
from mechtui.session.ops import ops
from mechtui.session.storage import loads
from mechtui.views import parse_question, specs

TOP = Path(__file__).parents[2]
PAGES = sorted([TOP / "README.md", TOP / "CONTRIBUTING.md", TOP / "CHANGELOG.md", *TOP.glob("docs/**/*.md")])
EVERY = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))

# A fence with its language and its text; a span of code; a link's or a picture's aim.
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
AIM = re.compile(r"\]\(([^()\s]+)\)")
VECTOR = re.compile(r"[\w-]+ = (diff|mean|neuron|token|pca|file) ")
# The view that docs/dev/add-a-view.md makes.
OWN = "certainty"
# What stands for something that the reader puts there.
BLANK = re.compile(r"\[|\]|\.\.\.|…|\b[A-Z]{3,}\b|\bPOS\b")


def prose(text: str) -> str:
    """A page without its fences."""
    return FENCE.sub("", text)


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub and the site make them, and those that it names itself."""
    text = prose(page.read_text("utf-8"))
    seen: Counter[str] = Counter()
    found = set(re.findall(r'<a id="([^"]+)"', text))
    for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title.strip())
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return frozenset(found)


@EVERY
def test_every_link_leads_somewhere(page: Path) -> None:
    text = SPAN.sub("", prose(page.read_text("utf-8")))
    lost = []
    for aim in AIM.findall(text):
        if re.match(r"https?://", aim):
            continue
        path, _, anchor = aim.partition("#")
        to = (page.parent / path).resolve() if path else page
        if not to.exists() or not to.is_relative_to(TOP) or (anchor and anchor not in anchors(to)):
            lost.append(aim)
    assert not lost


def spans(page: Path) -> list[str]:
    """What stands between backticks in a page's text; in a table, a pipe without its backslash."""
    return [span.replace("\\|", "|") for span in SPAN.findall(prose(page.read_text("utf-8")))]


def commands(page: Path) -> Iterator[str]:
    """Every `mechtui ...` that a page shows."""
    text = page.read_text("utf-8")
    lines = [body.replace("\\\n", " ") for kind, body in FENCE.findall(text) if kind in ("sh", "")]
    lines += re.findall(r"(?<=\n\n) {4}.*(?:\n {4}.*)*", text)
    for line in "\n".join(lines).splitlines():
        yield from re.findall(r"(?:^\s*|&& |\$\()(mechtui\b[^)]*)", re.sub(r"\s# .*", "", line))
    yield from (span for span in spans(page) if re.match(r"mechtui( |$)", span))


def asked(words: list[str]) -> dict[str, object]:
    """What click makes of a command line. Raises click's exceptions."""
    command: click.Command = cli
    context = cli.make_context("mechtui", words)
    given = dict(context.params)
    while isinstance(command, click.Group) and (rest := [*context._protected_args, *context.args]):
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command, context = found, found.make_context(name, rest, parent=context)
        given |= {name: value for name, value in context.params.items() if value not in (None, ())}
    return given


@EVERY
def test_every_command_is_one(page: Path, tmp_path: Path) -> None:
    wrong = [f"{line}: {problem}" for line in commands(page) if (problem := mistake(line, tmp_path / "none.toml"))]
    assert not wrong


def mistake(line: str, no_file: Path) -> str:
    """What is wrong with a command line; empty where nothing is. Of one with blanks the options only are looked at."""
    words = shlex.split(line, comments=True)[1:]
    words = [word.partition("|")[0] if re.fullmatch(r"[a-z]+(\|[a-z]+)+", word) else word for word in words]
    known = options(words)
    if BLANK.search(line) or (words and words[-1] in known):
        strange = [word for word in re.findall(r"(?<=[ \[|])--[a-z][\w-]*", line) if word not in known]
        return f"there is no {', '.join(strange)}" if strange else ""
    for end in (">", "|", "&&"):
        words = words[: words.index(end)] if end in words else words
    try:
        given = asked(words)
        for view in given.get("views") or ():
            if view != OWN:
                parse_question(view)
        said = {name: given[name] for name in set(NAMES) & set(given) - {"views"} if given[name] not in (None, ())}
        chosen = settings(said, {}, no_file)
        for edit in chosen.edit:
            parse_edit(edit)
        for vector in chosen.vector:
            parse_vector(vector)
        check_cases(chosen.cases)
    except (click.exceptions.Exit, click.exceptions.NoArgsIsHelpError):
        return ""  # --version; a group's name alone
    except click.ClickException as error:
        return error.format_message()
    except (ConfigError, LineError) as error:
        return str(error)
    return ""


def options(words: list[str]) -> set[str]:
    """The options of the command that the words name."""
    command: click.Command = cli
    for word in words:
        if isinstance(command, click.Group) and word in command.commands:
            command = command.commands[word]
    return {"--help", *(name for each in command.params for name in (*each.opts, *each.secondary_opts))}


@EVERY
def test_every_line_is_one(page: Path) -> None:
    texts = [text for kind, text in FENCE.findall(page.read_text("utf-8")) if kind == "text"]
    fenced = [line for line in "".join(texts).splitlines() if not line.startswith(" ")]
    wrong = []
    for span in [*spans(page), *fenced]:
        try:
            read(span)
        except LineError as error:
            wrong.append(f"{span}: {error}")
    assert not wrong


def read(span: str) -> None:
    """Read a text that is an edit, a vector, a question or names cases, and leave any other. Raises LineError."""
    line = span.removeprefix("# ").removeprefix(":").strip()
    first, _, rest = line.partition(" ")
    if BLANK.search(line) or not rest or rest.startswith("="):
        return
    if names_cases(line):
        check_cases(rest if rest != "none" else "")
    elif first in ops() and re.match(r"L[\d*]|embed\b|pos\b", rest):
        parse_edit(line)
    elif VECTOR.match(line):
        parse_vector(line)
    elif first in specs():
        parse_question(line)


@EVERY
def test_every_session_file_is_one(page: Path) -> None:
    for kind, text in FENCE.findall(page.read_text("utf-8")):
        if kind == "toml" and "mechtui = 1" in text:
            loads(text, str(page), parse_question)


@EVERY
def test_every_letter_behind_g_leads_to_a_view(page: Path) -> None:
    letters = {view.keys for view in specs().values()} | {key for act in ACTIONS for key in act.keys} | {"g g"}
    named = [span for span in spans(page) if re.fullmatch(r"g \w", span)]
    assert set(named) <= letters


@pytest.mark.parametrize("workspace", built_in(), ids=lambda workspace: workspace.name)
def test_a_workspace_has_a_page_with_its_views(workspace: Workspace) -> None:
    page = (TOP / f"docs/workspaces/{workspace.name.lower()}.md").read_text("utf-8")
    named = set(re.findall(r"`(g \w+)`", page))
    assert {specs()[view].keys for view in workspace.views} <= named
    assert f"`{built_in().index(workspace) + 1}`" in page
