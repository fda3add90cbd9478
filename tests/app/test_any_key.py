"""Keys and lines of any kind: none of them ends the program, and what cannot be done is said."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from textual import events

from mechtui.app.actions import ACTIONS, SHOWN
from mechtui.app.app import Mechtui
from mechtui.app.models import Models
from mechtui.link.client import Life
from mechtui.link.messages import Cancel, Failed, Load, Saved, SaveVectors
from mechtui.views import specs
from tests.app.answering import app, idle, ready, session
from tests.app.test_app import edits, screen

SIZE = (120, 40)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


async def lines(it: Mechtui, pilot, key: str, text: str) -> str:
    """Open a line with a key, put a text in, press enter -> what is on the screen then."""
    await pilot.press(key)
    await idle(pilot)
    it.line.field.value = text
    await pilot.press("enter")
    await idle(pilot)
    return screen(it)


@pytest.mark.parametrize(
    ("key", "text", "said"),
    [
        ("e", "zero L" + "9" * 5000 + "H0", "has more digits than the 15"),
        ("e", "scale L0H0 x1e999", "should be x and a number"),
        ("colon", "generate 3 temperature" + "9" * 400, "should be temperature and a number"),
        ("colon", "generate 3 temperatureinf", "should be temperature and a number"),
        ("colon", "generate 3 temperaturenan", "should be temperature and a number"),
        ("colon", "attention L99H0", "has no L99H0"),
        ("S", "~nouser/a.toml", "there is no user nouser"),
        ("S", "/", "is a folder"),
        ("S", "nowhere/a.toml", "there is no folder nowhere"),
        ("S", "/dev/zero", "is no regular file"),
        ("S", "a\0b.toml", "no name of a file"),
        ("S", "x" * 5000, "too long"),
        ("S", "", "a file's name should stand here"),
        ("ctrl+o", "~nouser/a.toml", "there is no user nouser"),
        ("ctrl+o", "/dev/zero", "is no regular file"),
        ("ctrl+o", "/", "is a folder"),
        ("ctrl+o", "broken.toml", "zzz should be a count"),
        ("W", "~nouser/a.py", "there is no user nouser"),
        ("W", "nowhere/a.py", "there is no folder nowhere"),
        ("V", "~nouser/a.safetensors", "there is no user nouser"),
        ("V", "nowhere/a.safetensors", "there is no folder nowhere"),
    ],
)
async def test_a_line_that_cannot_be_says_why_and_stays(key: str, text: str, said: str) -> None:
    Path("broken.toml").write_text('mechtui = 1\nviews = ["generate zzz"]\n')
    it, _, _ = app(session("zero L1H1", vectors=('v = token " Paris"',)))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        before = it.session
        shown = await lines(it, pilot, key, text)
        assert said in " ".join(shown.split()), shown
        assert "Error" not in shown
        assert it.line.field.value == text.replace("\0", "") or it.line.field.value == text
        assert it.session == before


async def test_views_that_mean_nothing_count_as_none() -> None:
    it, _, _ = app(session())
    it.history.change(type(it.session)(prompt="a b", views=("generate zzz",)))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("g", "c", "circumflex_accent")
        await idle(pilot)
        assert it.session.views == ("generate 40 temperature0.1",)


async def test_every_theme_can_be_had() -> None:
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        seen = []
        for _ in it.available_themes:
            await pilot.press("T")
            await idle(pilot)
            seen.append(it.theme)
        assert seen[0] != seen[1]
        assert "mechtui" in seen


@pytest.mark.parametrize(
    "keys", [("question_mark", "q", "q"), ("question_mark", "escape", "enter"), ("M", "enter", "enter")]
)
async def test_a_window_is_left_once(keys: tuple[str, ...]) -> None:
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press(keys[0])
        await idle(pilot)
        window = it.screen
        target = window.focused or window
        for key in keys[1:]:
            # Both wait already when the first is handled.
            target.post_message(events.Key(key, None))
        await idle(pilot)
        assert len(it.screen_stack) == 1
        assert it.is_running


async def test_a_model_chosen_again_is_loaded_again_when_it_is_not_there() -> None:
    it, link, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None)
        it.talk.ready = None
        for times in (2, 3):
            await pilot.press("M")
            await idle(pilot)
            assert isinstance(it.screen, Models)
            it.screen.dismiss(it.session.model)
            it.talk.ready = None
            await idle(pilot)
            assert len([each for each in link.sent if isinstance(each, Load)]) == times
            it.talk.ready = None


async def test_half_a_character_does_not_come_in() -> None:
    it, _, _ = app(session(prompt="one"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("i")
        await idle(pilot)
        it.post_message(events.Key("x", "\ud800"))
        it.post_message(events.Paste("a\udc00b"))
        await idle(pilot)
        assert "\ud800" not in it.session.prompt
        assert "\udc00" not in it.session.prompt
        await pilot.press("c")
        await idle(pilot)
        assert it.session.prompt.endswith("c")


LEAVE = {"q", "ctrl+q", "ctrl+z"}
KEYS = sorted({key for action in ACTIONS for key in action.keys} - LEAVE)
# What a key of the program may lead to: `g` waits for a letter, digits and brackets choose places.
PLACES = [*"0123456789", "left_curly_bracket", "right_curly_bracket", "backspace", "enter", "tab", "shift+tab"]
TEXTS = [
    *'abz019LH.@,-> "#=|\\é漢',
    "backspace",
    "delete",
    "left",
    "right",
    "home",
    "end",
    "enter",
    "tab",
    "escape",
    "up",
    "down",
]
PASTES = ["9" * 5000, "zero L0H0", '"' * 50, "\x1b[2J\r\n", "generate 3 x"]
CHARACTERS = {name: sign for name, sign in SHOWN.items() if len(sign) == 1 and sign.isascii()} | {"space": " "}
LINES = [specs()[view].question().line() for view in specs()]


def typed(key: str) -> events.Key:
    return events.Key(key, key if len(key) == 1 else CHARACTERS.get(key))


def burst(draw: random.Random) -> list[events.Key | events.Paste]:
    """Some keys that come together."""
    kind = draw.random()
    if kind < 0.03:
        return [events.Paste(draw.choice(PASTES))]
    if kind < 0.06:
        return [typed("colon"), *map(typed, draw.choice(LINES)), typed(draw.choice(("enter", "tab", "up", "escape")))]
    if kind < 0.2:
        return [typed("g"), typed(draw.choice("abcdefghijklmnopqrstuvwxyzG7"))]
    keys = KEYS if kind < 0.65 else PLACES if kind < 0.75 else TEXTS
    return [typed(draw.choice(keys)) for _ in range(draw.randint(1, 5))]


@pytest.mark.parametrize("seed", range(20))
async def test_any_keys_at_any_size_leave_the_program_alive(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """500 keys each, of all bindings but those that leave, and of what is typed, at sizes from 20x5 to 220x60, with a
    model that answers, fails and goes away, and texts that are pasted."""
    for leaves in ("quit", "suspend_to_shell"):  # the command line reaches them, too
        monkeypatch.setattr(Mechtui, leaves, lambda self: None)
    draw = random.Random(seed)
    it, link, model = app(session("zero L1H1", vectors=('v = token " Paris"',), source="When Mary and Jim"))
    async with it.run_test(size=(draw.randint(20, 220), draw.randint(5, 60))) as pilot:
        await idle(pilot)
        done: list[str] = []
        while len(done) < 500:
            kind = draw.random()
            if kind < 0.03:
                size = draw.randint(20, 220), draw.randint(5, 60)
                done.append(str(size))
                await pilot.resize_terminal(*size)
            elif kind < 0.05:
                reply = draw.choice(
                    [
                        Failed("ask", "It failed.", generation=len(model.asks)),
                        Failed("load", "It cannot be loaded.", model=it.session.model),
                        Life("restarting", "The model process ended."),
                        ready(it.session.model or "demo", draw.randint(1, 12), draw.randint(1, 12)),
                    ]
                )
                done.append(type(reply).__name__)
                link.reply(reply)
            else:
                for event in burst(draw):
                    done.append(event.key if isinstance(event, events.Key) else "paste")
                    it.post_message(event)
            if draw.random() < 0.3:  # else what comes next finds the app at work
                await pilot.pause()
            if it.fault is not None:
                raise AssertionError(f"after {done[-40:]}") from it.fault
        await idle(pilot)
        assert it.is_running
        for _ in range(4):
            await pilot.press("escape")
        await idle(pilot)
        assert len(it.screen_stack) == 1
        await pilot.resize_terminal(*SIZE)
        it.change(session())
        await idle(pilot)
        assert edits(it) == []
        assert "When" in screen(it)


@pytest.mark.parametrize(("key", "name"), [("S", "a.toml"), ("W", "a.py"), ("V", "a.safetensors")])
async def test_a_file_of_somebody_else_is_written_over_after_a_second_enter(key: str, name: str) -> None:
    Path(name).write_text("somebody's")
    it, link, _ = app(session("zero L1H1", vectors=('v = token " Paris"',)))

    def written() -> bool:
        sent = [each for each in link.sent if isinstance(each, SaveVectors)]
        return bool(sent) if key == "V" else Path(name).read_text() != "somebody's"

    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        shown = await lines(it, pilot, key, name)
        assert f"{name} is there already; enter writes over it" in shown
        assert not written()
        await pilot.press("escape")
        await idle(pilot)
        assert not written()
        await lines(it, pilot, key, name)
        await pilot.press("enter")
        await idle(pilot)
        assert written()
        assert it.line.kind is None
        if key == "V":
            assert "is there already" in await lines(it, pilot, key, name), "it may not have been written"
            await pilot.press("escape")
            link.reply(Saved(str(Path(name).resolve()), ("v",)))
        shown = await lines(it, pilot, key, name)
        assert "is there already" not in shown, "what this session wrote is its own"


async def test_the_file_that_was_opened_is_the_sessions_own() -> None:
    Path("mine.toml").write_text('mechtui = 1\nprompt = "mine"\n')
    Path("others.toml").write_text('mechtui = 1\nprompt = "others"\n')
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await lines(it, pilot, "ctrl+o", "mine.toml")
        assert it.session.prompt == "mine"
        assert "is there already" not in await lines(it, pilot, "S", "./mine.toml")
        await lines(it, pilot, "ctrl+o", "others.toml")
        assert "is there already" in await lines(it, pilot, "S", "mine.toml")
    assert 'prompt = "mine"' in Path("mine.toml").read_text()


async def test_esc_stops_a_load_that_takes_long_and_the_model_can_be_chosen_again() -> None:
    it, link, model = app()
    link._respond = None
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        assert it.talk.loading is not None
        await pilot.press("escape")
        await idle(pilot)
        assert Cancel("load") in link.sent
        link.reply(Failed("load", "Loading gpt2 was stopped.", model="gpt2"))
        await idle(pilot)
        assert it.talk.loading is None
        await pilot.press("z")
        await idle(pilot)
        assert len([each for each in link.sent if isinstance(each, Load)]) == 1, "nobody asked for it again"
        link._respond = model.respond
        await pilot.press("M")
        await idle(pilot)
        assert isinstance(it.screen, Models)
        it.screen.dismiss("gpt2")
        await idle(pilot, lambda: it.talk.ready is not None)
