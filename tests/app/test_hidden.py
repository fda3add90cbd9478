"""Whatever holds hidden characters, none of them leaves for the terminal, and no column moves."""

from __future__ import annotations

import base64
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from rich.cells import cell_len
from textual import events
from textual.drivers.headless_driver import HeadlessDriver
from textual.geometry import NULL_REGION
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Static, TextArea

from mechtui.app.app import Mechtui
from mechtui.app.workspaces import panes
from mechtui.link.client import Life
from mechtui.link.messages import (
    Ask,
    EditProblem,
    Failed,
    Fetched,
    Load,
    Ready,
    Reply,
    Request,
    Saved,
    Stage,
    Started,
)
from mechtui.session.document import Session
from mechtui.session.grammar.edits import format_edit, parse_edit
from mechtui.session.grammar.vectors import format_vector, parse_vector
from mechtui.session.storage import dumps, loads
from mechtui.views import specs
from tests.app.answering import Model, app, idle, session
from tests.hidden import COMMANDS, KINDS, hidden, left_over

SIZE = (120, 40)
# Some of every kind, short enough to be painted whole; that each character counts is tested without a screen.
MIXED = {
    "commands": COMMANDS,
    "turned": "\x00\t\r\x7f\x9b\u202e\u2067\u200b\ufeff\u2028\x85\u00a0\U000e0041",
    "shapeless": "\ud800\ue000\u0378\ufdd0\U0001f1e9\u1161\u3164\u200d\ufe0f\U000e0101",
}


def sent(poison: str) -> str:
    """What of it can come over the wire, which is UTF-8."""
    return poison.replace("\ud800", "")


def poisoned(value: Any, poison: str) -> Any:
    """The same with `poison` behind every text in it that is free: a new answer's texts are among them unasked."""
    if isinstance(value, msgspec.Struct):
        kinds = typing.get_type_hints(type(value))
        changes = {}
        for name in value.__struct_fields__:
            held = getattr(value, name)
            if isinstance(held, str):
                if held and kinds[name] is str and name not in ("hex", "kind", "op"):
                    changes[name] = held + poison
            else:
                changes[name] = poisoned(held, poison)
        return replace(value, **changes)
    if isinstance(value, tuple):
        return tuple(each + poison if isinstance(each, str) else poisoned(each, poison) for each in value)
    return value


class Hostile(Model):
    """A model whose tokens, names, problems and progress all hold the poison."""

    def __init__(self, poison: str) -> None:
        super().__init__()
        self.poison = poison

    def respond(self, request: Request) -> list[Reply]:
        made = super().respond(request)
        if isinstance(request, Ask) and made:
            problems = (EditProblem(-1, "source", "no such"), EditProblem(0, "zero L9H9", "no such token"))
            made[0] = Started(request.generation, problems)
        if isinstance(request, Load):
            made = [Stage("load", "reading", 0.5, "1 of 2"), *made]
        return [self._poisoned(reply) for reply in made]

    def _poisoned(self, reply: Reply) -> Reply:
        made: Reply = poisoned(reply, self.poison)
        if isinstance(reply, Ready):
            return replace(made, shape=reply.shape)  # type: ignore[arg-type]
        # A question comes back as it was asked.
        return replace(made, question=reply.question) if hasattr(reply, "question") else made  # type: ignore[arg-type]


def start_session(poison: str) -> Session:
    made = session(vectors=('love = diff L6.pre "Love" "Hate"', "f = file v.safetensors#a"))
    edits = ('zero L9H9 @" Mary"', "add L6.pre love x5", 'cut L1H1 " Mary">" John"')
    made = replace(made, edits=tuple(parse_edit(line) for line in edits))
    vectors = tuple(replace(poisoned(each, poison), name=each.name) for each in made.vectors)
    poisoned_edits = tuple(replace(poisoned(each, poison), vector=each.vector) for each in made.edits)
    texts = {name: getattr(made, name) + poison for name in ("model", "prompt", "source", "answer", "foil")}
    texts["model"] = sent(texts["model"])
    return replace(made, vectors=vectors, edits=poisoned_edits, references=(poison,), **texts)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All that the app writes to the terminal."""
    found: list[str] = []
    monkeypatch.setattr(HeadlessDriver, "write", lambda self, data: found.append(data))
    monkeypatch.setattr(HeadlessDriver, "is_headless", False)
    return found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CONFIG", "STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def seen_rows(shown: Mechtui) -> list[str]:
    return [strip.text for strip in shown.screen._compositor.render_strips()]


def check(shown: Mechtui, written: list[str], where: str) -> None:
    """Nothing hidden has left, every row is as wide as the screen, every frame stands where it should."""
    left = left_over("".join(written))
    written.clear()
    assert not left, (where, left[:3])
    rows = seen_rows(shown)
    for row in rows:
        assert cell_len(row) == SIZE[0], (where, row)
    if shown.screen.id != "main":
        return
    for pane in shown.board.panes.values():
        region = pane.region
        if not region.area or not pane.display:
            continue
        # What is said lies over the panes.
        said = shown.bars.message.region if shown.bars.message.display else NULL_REGION
        for y in range(region.y, region.bottom):
            if said.y <= y < said.bottom:
                continue
            ends = cell_at(rows[y], region.x) + cell_at(rows[y], region.right - 1)
            assert all(end in "╭╮╰╯│─" for end in ends) or shown.line.kind is not None, (where, pane.id, rows[y])


def cell_at(row: str, column: int) -> str:
    """The character that takes this cell."""
    cells = 0
    for char in row:
        cells += cell_len(char)
        if cells > column:
            return char
    raise AssertionError(f"{row!r} has no cell {column}")


@pytest.mark.parametrize("kind", MIXED)
async def test_no_hidden_character_leaves_the_app(kind: str, written: list[str], home: Path) -> None:
    poison = MIXED[kind]
    shown, link, _ = app(start_session(poison), Hostile(sent(poison)))
    async with shown.run_test(size=SIZE) as pilot:
        await everywhere(shown, link, pilot, poison, home, lambda where: check(shown, written, where))
    assert not left_over("".join(written))


async def everywhere(
    shown: Mechtui, link: Any, pilot: Pilot[int], poison: str, home: Path, checked: Callable[[str], None]
) -> None:
    """Through every pane, editor, line, list, sentence and screen."""
    await idle(pilot)
    checked("begin")
    for name in panes():
        await pilot.press("g", specs()[name].go)
        await pilot.pause()
        checked(name)
        for key in ("f", "s", "t", "G", "y", "Y", "f"):
            await pilot.press(key)
            await pilot.pause()
            checked(f"{name} {key}")
    for key in ("i", "I"):  # o is something else in a pane of its own
        which = "prompt" if key == "i" else "source"
        await pilot.press(key)
        await idle(pilot, lambda which=which: shown.focused is shown.board.editors[which])
        shown.post_message(events.Paste("pasted" + sent(poison)))
        pasted = "pasted" + sent(poison).replace("\r", "\n")
        await idle(pilot, lambda which=which, pasted=pasted: getattr(shown.session, which).endswith(pasted))
        for move in ("left", "home", "shift+end", "ctrl+c", "up", "end", "backspace", "escape"):
            await pilot.press(move)
            await pilot.pause()
            checked(f"{key} {move}")
    names = sent(poison).replace("\x00", "")
    poison = sent(poison)
    (home / f"saved{names[:40]}.toml").write_text("mechtui = 1\nprompt = 3\n")
    for key in ("a", "e", "v", "colon", "slash", "S", "W", "ctrl+o", "V"):
        await pilot.press(key)
        await idle(pilot)
        field = shown.line.field
        field.value = ""
        shown.post_message(events.Paste("zero" + poison if key != "ctrl+o" else "saved"))
        await pilot.pause()
        for press in ("left", "home", "end", "shift+home", "end", "enter", "down", "tab", "escape"):
            await pilot.press(press)
            await pilot.pause()
            checked(f"{key} {press}")
        if shown.line.kind is not None:
            shown.line.close()
            await pilot.pause()
    for reply in (
        Stage("load", poison, None, poison),
        Failed("ask", f"it failed {poison}", link.sent[-1].generation if isinstance(link.sent[-1], Ask) else -1),
        Failed("load", f"no such {poison}", model=poison),
        Life("restarting", f"it died {poison}"),
        Life("stopped", f"it died {poison}"),
        Saved(poison, (poison,)),
        Fetched(poison),
    ):
        link.reply(reply)
        await pilot.pause()
        checked(type(reply).__name__)
    await pilot.press("question_mark")
    await pilot.pause()
    checked("help")
    await pilot.press("escape")
    await pilot.pause()
    await pilot.press("M")
    await pilot.pause()
    shown.post_message(events.Paste("mo" + poison))
    await pilot.pause()
    checked("models")
    link.reply(Stage("fetch", poison, 0.5, poison))
    await pilot.pause()
    checked("fetch")
    await pilot.press("escape")
    await pilot.pause()
    shown.copy(f"copied {poison}")
    shown.notify(f"a toast {poison}", title=poison, markup=False)
    await pilot.pause()
    checked("copied")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_widget_that_forgot_cannot_leak(kind: str, written: list[str], home: Path) -> None:
    class Forgetful(Widget):
        def render(self) -> str:
            return "x" + KINDS[kind] * 3 + "y"

    shown, _, _ = app()
    async with shown.run_test(size=SIZE) as pilot:
        await idle(pilot)
        forgetful, label = Forgetful(), Static("a" + KINDS[kind], markup=False)
        label.border_title = "t" + KINDS[kind].replace("[", "(")
        label.styles.border = ("round", "red")
        forgetful.styles.height = label.styles.height = 3
        await shown.screen.mount(forgetful, label)
        await idle(pilot)
        rows = seen_rows(shown)
    assert not left_over("".join(written))
    assert all(cell_len(row) == SIZE[0] for row in rows)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_edited_stays_exact_and_the_cursor_stands_on_its_sign(kind: str, home: Path) -> None:
    poison = KINDS[kind]
    prompt = f"中文 a{poison}b\r\nsecond {poison}"
    shown, _, _ = app(session(prompt=prompt))
    async with shown.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("i")
        await idle(pilot)
        editor = shown.focused
        assert isinstance(editor, TextArea)
        await pilot.press("x")
        await idle(pilot)
        assert shown.session.prompt == prompt + "x"
        for row, line in enumerate(prompt.split("\n")):
            for column, char in enumerate(line):
                editor.move_cursor((row, column))
                await pilot.pause()
                x, y = editor.cursor_screen_offset
                under = cell_at(seen_rows(shown)[y], x)
                assert under == char or hidden(char), (row, column)
                if hidden(char):
                    assert cell_len(under) == 1
                    assert not hidden(under)
                    assert under != " "
        editor.move_cursor((0, 4))
        await pilot.press("delete")
        await idle(pilot)
        assert shown.session.prompt == prompt[:4] + prompt[5:] + "x"
        await pilot.press("ctrl+z")
        await idle(pilot)
        assert shown.session.prompt == prompt + "x"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "surrogates"])
def test_lines_and_session_files_are_visible_and_say_the_same(kind: str) -> None:
    made = start_session(KINDS[kind])
    for edit in made.edits:
        assert not left_over(format_edit(edit), "")
        assert parse_edit(format_edit(edit)) == edit
    for vector in made.vectors:
        assert not left_over(format_vector(vector), "")
        assert parse_vector(format_vector(vector)) == vector
    assert not left_over(dumps(made))
    assert loads(dumps(made)) == made


async def test_pasted_lines_are_kept_whole(home: Path) -> None:
    shown, _, _ = app()
    async with shown.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("i", "ctrl+a")
        shown.post_message(events.Paste("one\rtwo\r\nthree\u2028four"))
        await idle(pilot)
        assert shown.session.prompt.startswith("one\ntwo\nthree\u2028four")
        await pilot.press("escape", "a")
        await idle(pilot)
        shown.line.field.value = ""
        shown.post_message(events.Paste("\u202e\x1bone\rtwo\r"))
        await idle(pilot)
        await pilot.press("enter")
        await idle(pilot)
        assert shown.session.answer == "\u202e\x1bone\ntwo"


async def test_what_is_copied_is_exact_and_inert(
    written: list[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    shown, _, _ = app()
    async with shown.run_test(size=SIZE) as pilot:
        await idle(pilot)
        shown.copy("a\x1b]2;PWNED\x07\u202e")
        await idle(pilot)
    sent = [part for part in written if "\x1b]52" in part]
    assert [base64.b64decode(part.split(";")[2].rstrip("\a")).decode() for part in sent] == ["a\x1b]2;PWNED\x07\u202e"]
    assert not left_over("".join(written))
