"""The app on a link that answers at once: keys to sessions, sessions to questions, answers to the screen."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from textual import events

from mechtui.app.app import Mechtui
from mechtui.app.board import pane_class
from mechtui.app.line import Rows
from mechtui.app.prompt import Prompt
from mechtui.app.workspaces import panes
from mechtui.link.client import Life
from mechtui.link.messages import Ask, Cancel, Failed, Fetch, Finished, Load, Sized
from mechtui.paint.palette import contrast, lightness
from mechtui.session.grammar.edits import format_edit, parse_edit
from mechtui.session.grammar.vectors import format_vector
from mechtui.views import parse_question
from mechtui.views.attention import Attention
from mechtui.views.effects import Effects
from mechtui.views.generate import Generate
from mechtui.views.next_tokens import NextTokens
from mechtui.views.tokens import Tokens
from tests.app.answering import PROMPT, Model, app, idle, session

SIZE = (120, 40)


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def screen(app_: Mechtui) -> str:
    """The text on the screen."""
    return "\n".join("".join(segment.text for segment in line) for line in app_.screen._compositor.render_strips())


def edits(app_: Mechtui) -> list[str]:
    return [format_edit(edit) for edit in app_.session.edits]


async def test_every_pane_in_sight_gets_answers_and_tokens_are_asked_first():
    it, link, model = app(session("zero L9H9", vectors=('love = diff L6.pre "Love" "Hate"',)))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        asked = model.asks[0].questions
        assert asked[0] == Tokens()
        assert isinstance(asked[1], Attention), "the focused pane comes before the others"
        assert isinstance(asked[-2], Effects), "what costs runs of its own comes last"
        text = screen(it)
        for words in ("Tokens", "Heads", "Attention", "Next token", "Lens", "Edits", "Vectors", "·Mary", "live"):
            assert words in text
        assert "waiting for the model" not in text
        await pilot.press("g", "c")
        await idle(pilot)
        assert "Generate" in screen(it)
    assert link.closed is False
    assert isinstance(link.sent[0], Load)


async def test_quitting_closes_the_link():
    it, link, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("q")
        await idle(pilot, lambda: link.closed)
    assert it.return_value == 0


async def test_what_was_still_to_be_shown_when_the_app_ended_is_not():
    it, _, _ = app(session("zero L9H9"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
    assert not it.screen_stack
    it._show()


async def test_tokens_are_asked_again_when_a_text_changes_and_not_when_an_edit_does():
    it, _, model = app(session())
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        before, tokens = len(model.asks), it.picture.tokens
        it.go("attention")
        await pilot.press("z", "u")
        await idle(pilot, lambda: not it.talk.running)
        assert [Tokens() in ask.questions for ask in model.asks[before:]] == [False] * 2
        assert it.picture.tokens is tokens
        assert it.board.show(it.talk, it.picture) is False, "no pane waits for an answer"
        before = len(model.asks)
        await pilot.press("i", "a", "escape")
        await idle(pilot, lambda: not it.talk.running)
        assert [Tokens() in ask.questions for ask in model.asks[before:]] == [True]
        before = len(model.asks)
        it.change(replace(it.session, source="When Mary", align="none"), "source")
        await idle(pilot, lambda: not it.talk.running)
        assert [Tokens() in ask.questions for ask in model.asks[before:]] == [True]


async def test_every_keystroke_asks_again_and_letters_are_text_while_typing():
    it, _, model = app(session(prompt="one"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("i")
        await idle(pilot)
        assert "INSERT" in screen(it)
        before = len(model.asks)
        await pilot.press("space", "z", "q")
        await idle(pilot)
        assert it.session.prompt == "one zq"
        assert [ask.session.prompt for ask in model.asks[before:]] == ["one ", "one z", "one zq"]
        assert it.session.edits == ()
        await pilot.press("ctrl+j", "x", "escape")
        await idle(pilot)
        assert it.session.prompt == "one zq\nx"
        assert "NORMAL" in screen(it)


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (140, 50)])
@pytest.mark.parametrize("keys", [("z", "u"), ("z", "m", "u", "u"), ("z", "O", "g", "e", "delete")])
async def test_without_its_edits_the_screen_is_as_it_was(keys: tuple[str, ...], size: tuple[int, int]):
    """To the cell, but for the footer: what can be undone is named there."""
    it, _, _ = app(session())
    async with it.run_test(size=size) as pilot:
        await idle(pilot)
        if "e" in keys:
            await pilot.press("g", "e")
            await idle(pilot)
        first = screen(it)
        for key in keys:
            if key in ("z", "m"):
                it.go("attention")
            await pilot.press(key)
            await idle(pilot)
        if "e" not in keys:
            it.go("attention")
            await idle(pilot)
        assert not it.session.edits
        assert screen(it).splitlines()[:-1] == first.splitlines()[:-1]


async def test_typing_is_undone_by_the_word_and_the_editor_follows():
    it, _, _ = app(session(prompt="one"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("i", "space", "t", "w", "o", "enter", "u")
        await idle(pilot)
        assert it.session.prompt == it.board.prompt.text == "one "
        await pilot.press("ctrl+r")
        await idle(pilot)
        assert it.session.prompt == it.board.prompt.text == "one two"


async def test_a_source_whose_keys_come_together_is_undone_at_the_end_of_a_word():
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("I", "W", "h")
        await idle(pilot)
        for piece in ("en John and Ma", "ry went"):
            for letter in piece:
                it.board.source.post_message(events.Key("space" if letter == " " else letter, letter))
            await idle(pilot, lambda piece=piece: it.session.source.endswith(piece))
        await pilot.press("escape")
        await idle(pilot)
        await pilot.press("g", "h", "p", "z")
        await idle(pilot)
        assert edits(it) == ["patch L0H0", "zero L0H0"]
        left = []
        for _ in range(30):
            before = it.session
            await pilot.press("u")
            await idle(pilot)
            if it.session is before:
                break
            left.append(it.session.source)
        assert left[:2] == ["When John and Mary went"] * 2
        assert all("When John and Mary went ".startswith(f"{text.strip()} ".lstrip()) for text in left), left


async def test_numbers_that_are_nudged_in_two_visits_are_two_steps_and_the_edit_stays():
    it, _, _ = app(session("scale L1H1 x0.5", "scale L2H2 x0.5"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("g", "e", "+", "g", "n", "g", "e", "+")
        await pilot.press("j", "+")
        await idle(pilot)
        assert edits(it) == ["scale L1H1 x0.7", "scale L2H2 x0.6"]
        await pilot.press("u")
        await idle(pilot)
        assert edits(it) == ["scale L1H1 x0.7", "scale L2H2 x0.5"]
        await pilot.press("u")
        await idle(pilot)
        assert edits(it) == ["scale L1H1 x0.6", "scale L2H2 x0.5"]


async def test_linear_mode_is_said_in_the_head_is_undone_and_leads_back():
    it, _, _ = app(session("scale L1H1 x0.5"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        before = it.session
        assert "linear" not in it.bars.status.left.plain
        await pilot.press("L")
        await idle(pilot)
        assert it.session.linear
        assert it.bars.status.left.plain.startswith(" linear ")
        await pilot.press("u")
        await idle(pilot)
        assert it.session == before
        assert "linear" not in it.bars.status.left.plain


async def test_keys_on_a_head_make_edits_and_the_same_key_takes_them_back():
    it, _, model = app(session(source=PROMPT.replace("John gave", "Mary gave")))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("g", "h", "j", "j", "l")
        await idle(pilot)
        assert (it.focus.layer, it.focus.head) == (2, 1)
        await pilot.press("z", "m", "p", "Z")
        await idle(pilot)
        assert edits(it) == ["zero L2H1", "mean L2H1", "patch L2H1", "zero L2H1 @-1"]
        assert len(model.asks[-1].session.edits) == 4
        await pilot.press("z")
        await idle(pilot)
        assert edits(it) == ["mean L2H1", "patch L2H1", "zero L2H1 @-1"]


async def test_keys_that_come_together_are_all_counted_and_typed_text_stays_text():
    it, _, _ = app(session(prompt="one"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("g", "h")
        await idle(pilot)
        pane = it.board.panes["heads"]
        for key in "jjjlli":
            pane.post_message(events.Key(key, key))
        # These were on their way to the pane when the text cursor moved.
        for key in "zq":
            pane.post_message(events.Key(key, key))
        await idle(pilot)
        assert (it.focus.layer, it.focus.head) == (3, 2)
        assert it.session.prompt == "onezq"
        assert it.session.edits == ()


async def test_cut_takes_the_row_and_column_under_the_cursor():
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("g", "a", "g", "g", "j", "j", *"hhh", "x")
        await idle(pilot)
        assert edits(it) == ["cut L0H0 2>0"]
        assert (it.position(), it.focus.key) == (2, 0)


async def test_cut_takes_the_key_that_the_query_looks_at_most_and_gives_it_back():
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("g", "a", "x")
        await idle(pilot)
        table = it.board.panes["attention"].picture.answer(Attention).clean.table
        assert edits(it) == [f"cut L0H0 {it.position()}>{np.nanargmax(table[-1])}"]
        await pilot.press("x")
        await idle(pilot)
        assert edits(it) == []


async def test_the_edit_list():
    it, _, _ = app(session("scale L1H1 x0.5", "zero L2H2"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("g", "e", "+")
        await idle(pilot)
        assert edits(it) == ["scale L1H1 x0.6", "zero L2H2"]
        await pilot.press("J", "K", "J")
        await idle(pilot)
        assert edits(it) == ["zero L2H2", "scale L1H1 x0.6"]
        assert it.focus.edit == 1
        await pilot.press("space", "D")
        await idle(pilot)
        assert edits(it) == ["zero L2H2", "# scale L1H1 x0.6", "# scale L1H1 x0.6"]
        await pilot.press("d", "O")
        await idle(pilot)
        assert edits(it) == ["# zero L2H2", "# scale L1H1 x0.6"]
        await pilot.press("u", "u", "u", "u")
        await idle(pilot)
        assert edits(it)[0] == "zero L2H2"


async def test_an_action_that_cannot_run_says_why():
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("p")
        await idle(pilot)
        assert "There is no source prompt to patch from" in screen(it)
        await pilot.press("g", "e", "space")
        await idle(pilot)
        assert "There is no edit yet" in screen(it)
        await pilot.press("u")
        await idle(pilot)
        assert "There is nothing to undo." in screen(it)
        await pilot.press("g", "h", "x")
        await idle(pilot)
        assert "cut belongs to the Attention pane: press g a first." in screen(it)
        await pilot.press("g", "a", "x")
        await idle(pilot)
        assert len(it.session.edits) == 1


async def test_a_mistake_in_an_edit_line_has_a_caret_and_loses_nothing():
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("e", *"zero L9", "full_stop", *"mpl", "enter")
        await idle(pilot)
        lines = screen(it).splitlines()
        (row,) = [index for index, line in enumerate(lines) if "did you mean mlp?" in line]
        caret, typed = lines[row + 1].index("▾"), lines[row + 2].index("zero L9.mpl")
        assert caret - typed == len("zero L9")
        assert it.line.field.value == "zero L9.mpl"
        assert it.session.edits == ()
        await pilot.press("end", "backspace", "backspace", "backspace", *"mlp", "enter")
        await idle(pilot)
        assert edits(it) == ["zero L9.mlp"]


async def test_tab_completes_a_line():
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("e", *"ze", "tab")
        await idle(pilot)
        assert it.line.field.value == "zero "
        assert it.line.query_one(Rows).rows[0].text == "L0H0"
        await pilot.press("tab", *"@-", "tab", "enter")
        await idle(pilot)
        assert edits(it) == ["zero L0H0 @-1"]


async def test_vectors_are_made_and_added():
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("v", *'w = token " Paris"', "enter", "g", "v", "space")
        await idle(pilot)
        assert [format_vector(vector) for vector in it.session.vectors] == ['w = token " Paris"']
        assert edits(it) == ["add L0.post w x1"]
        await pilot.press("d")
        await idle(pilot)
        assert "Edit 1 uses w" in screen(it)


async def test_the_palette_finds_actions_and_takes_lines():
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("colon", *"undo")
        await idle(pilot)
        assert it.line.query_one(Rows).rows[0].run == "undo"
        await pilot.press("escape", "ctrl+p", *"attention L3H4", "enter")
        await idle(pilot)
        assert (it.focus.layer, it.focus.head, it.here) == (3, 4, "attention")
        await pilot.press("colon", *"generate 5 seed2", "enter")
        await idle(pilot)
        assert it.here == "generate"
        assert it.session.views == ("generate 5 seed2",)


async def test_tab_completes_the_beginning_of_a_line_in_the_command():
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("colon", *"att", "enter")
        await idle(pilot)
        assert "att names no action: tab makes it attention" in screen(it)
        await pilot.press("tab")
        await idle(pilot)
        assert it.line.field.value == "attention "
        await pilot.press("tab", *"va", "tab", "enter")
        await idle(pilot)
        assert (it.line.kind, it.here) == (None, "attention")
        assert it.session.views == ("attention L0H0 value",)
        await pilot.press("colon", *"zero", "tab", "tab", "enter")
        await idle(pilot)
        assert edits(it) == ["zero L0H0"]
        # An action of that name is done by enter, and a row that was chosen is taken.
        await pilot.press("colon", *"zero", "enter")
        await idle(pilot)
        assert edits(it) == []
        await pilot.press("colon", *"heads ", "down", "down", "enter", "enter")
        await idle(pilot)
        assert it.here == "heads"
        assert it.session.views[-1].startswith("heads norm")


async def test_a_line_moves_the_focus_only_to_what_it_names():
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        it.look(replace(it.focus, position=5, layer=3, head=4))
        for line in ("heads norm", "lens", "attribution", "next_tokens top20", "sweep zero L*H*", "attention", "sweep"):
            await pilot.press("colon", *line, "enter")
            await idle(pilot)
            assert (it.line.kind, it.here) == (None, line.split()[0]), line
            assert (it.focus.position, it.focus.layer, it.focus.head) == (5, 3, 4), line
        await pilot.press("colon", *"attention L2H1", "enter", "colon", *"heads first @3", "enter")
        await idle(pilot)
        assert (it.focus.position, it.focus.layer, it.focus.head) == (3, 2, 1)
        await pilot.press("colon", *"next_tokens @-1", "enter")
        await idle(pilot)
        assert it.focus.position == -1


@pytest.mark.parametrize("view", [name for name in panes() if "into" in vars(pane_class(name))])
async def test_enter_keeps_the_token_and_backspace_brings_the_head_back(view: str):
    it, _, _ = app()
    async with it.run_test(size=(160, 45)) as pilot:
        await idle(pilot)
        it.look(replace(it.focus, position=5, layer=3, head=4))
        if view == "compare":  # with the state before
            it.change(replace(it.session, edits=(parse_edit("zero L1H1"),)))
        it.go(view)
        await idle(pilot)
        if view in ("sweep", "path"):
            await pilot.press("full_stop")
            await idle(pilot)
        before = it.focus
        await pilot.press("enter")
        await idle(pilot)
        assert it.focus.position == 5
        assert it.here != view or it.session.views
        await pilot.press("backspace")
        await idle(pilot)
        assert (it.here, it.focus) == (view, before)


@pytest.mark.parametrize("text", ["gpt2", "download", "elete", "uit", "suspnd"])
async def test_what_costs_or_leaves_is_not_done_for_words_that_happen_to_fit(text: str):
    start = session("zero L1H1")
    it, link, _ = app(start)
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        sent = len(link.sent)
        await pilot.press("g", "e", "colon", *text, "enter")
        await idle(pilot)
        assert len(link.sent) == sent
        assert it.line.kind is not None
        assert it.line.kind.label == ":"
        assert "names no action" in screen(it)
        assert it.session == start
        assert len(it.screen_stack) == 1


async def test_another_name_takes_the_offer_of_a_download_back():
    it, link, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("F")
        link.reply(Sized("gpt2", 548_000_000))
        await idle(pilot)
        await pilot.press("-", "x", "l")
        await idle(pilot)
        await pilot.press("enter")
        await idle(pilot)
        assert not [each for each in link.sent if isinstance(each, Fetch) and not each.ask]


async def test_answer_and_foil():
    it, _, model = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("a", "end", *"s", "tab", "end", *"ny", "enter")
        await idle(pilot)
        assert (it.session.answer, it.session.foil) == (" Marys", " Johnny")
        assert model.asks[-1].session.foil == " Johnny"


async def test_a_foil_that_is_the_answer_is_refused_where_it_is_written():
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        before = it.session
        await pilot.press("a", *("backspace",) * 9, *"same", "tab", *("backspace",) * 9, *"same", "enter")
        await idle(pilot)
        assert it.session == before
        assert "The foil is the answer itself" in screen(it)


async def test_older_answers_are_kept_as_older_until_newer_come():
    it, link, model = app(session(prompt="one two three"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        clock = [it.talk._now()]
        it.talk._now = lambda: clock[0]
        model.mute = True
        first = it.board.panes["next_tokens"].picture
        await pilot.press("z")
        await idle(pilot)
        it._show()
        picture = it.board.panes["next_tokens"].picture
        assert picture.stale is False, "the clock stands still, so nothing is overdue"
        clock[0] += 1
        it._show()
        picture = it.board.panes["next_tokens"].picture
        assert picture.stale is True
        assert picture.answered == first.answered
        late = model.answers(model.asks[-2])
        for reply in late:
            link.reply(reply)
        await idle(pilot)
        assert it.board.panes["next_tokens"].picture.stale is True, "an older session's answers are dropped"
        for reply in model.answers(model.asks[-1]):
            link.reply(reply)
        await idle(pilot)
        picture = it.board.panes["next_tokens"].picture
        assert picture.stale is False
        assert picture.answer(NextTokens).edited is not None


async def test_moving_the_cursor_asks_only_for_what_is_not_known():
    it, _, model = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        count = len(model.asks)
        await pilot.press("g", "h", "l")
        await idle(pilot)
        assert [ask.questions for ask in model.asks[count:]] == [(Attention(0, 1),)]
        await pilot.press("h")
        await idle(pilot)
        assert len(model.asks) == count + 1, "the first head's table is still true"


async def test_the_model_process_dies_and_comes_back():
    it, link, model = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        model.mute = True
        link.reply(Life("restarting", "The model process was killed (SIGKILL).", 2))
        await idle(pilot)
        text = screen(it)
        assert "The model process was killed (SIGKILL)." in text
        assert "○ older" in text
        assert "·Mary" in text, "the pictures stay"
        await pilot.press("g", "h", "z")
        model.mute = False
        link.reply(model.respond(link.sent[0])[0])
        await idle(pilot)
        assert "○ older" not in screen(it)
        assert edits(it) == ["zero L0H0"]
        assert model.asks[-1].session.edits == it.session.edits


async def test_a_failed_run_is_told_and_not_asked_for_again_and_again():
    it, link, model = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        model.mute = True
        await pilot.press("z")
        await idle(pilot)
        count = len(model.asks)
        link.reply(Failed("ask", "The prompt has 5000 tokens; gpt2 takes 1024.", model.asks[-1].generation))
        await idle(pilot)
        assert "5000 tokens" in screen(it)
        assert "failed" in screen(it)
        await pilot.press("h")
        await idle(pilot)
        assert len(model.asks) == count


async def test_escape_stops_what_runs():
    it, link, model = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        model.mute = True
        await pilot.press("full_stop")
        await idle(pilot)
        assert it.talk.running
        await pilot.press("escape")
        await idle(pilot)
        assert link.sent[-1] == Cancel("ask")
        link.reply(Finished(model.asks[-1].generation, 5.0, "cancelled"))
        await idle(pilot)
        assert not it.talk.running


async def test_another_model_keeps_the_session():
    it, link, _ = app(session("zero L1H1"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("M")
        await idle(pilot)
        assert "548 MB" in screen(it)
        await pilot.press(*"demo", "enter")
        await idle(pilot)
        assert [request.model for request in link.sent if isinstance(request, Load)] == ["gpt2", "demo"]
        assert edits(it) == ["zero L1H1"]


async def test_a_model_that_does_not_load_leaves_the_one_that_runs():
    it, link, model = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        link._respond = lambda request: [] if isinstance(request, Load) else model.respond(request)
        it.change(replace(it.session, model="nowhere"))
        await idle(pilot)
        link.reply(Failed("load", "nowhere is not on this machine.", model="nowhere"))
        await idle(pilot, lambda: not it.talk.running)
        text = screen(it)
        assert "nowhere is not on this machine." in text
        assert "● live" in text
        assert "failed" not in text


async def test_the_model_that_runs_is_not_loaded_again_under_its_own_name():
    it, link, _ = app(session(model=""))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        it.change(replace(it.session, model=it.ready.name))
        await idle(pilot)
        assert len([each for each in link.sent if isinstance(each, Load)]) == 1


async def test_panes_that_wait_for_no_model_say_how_one_is_chosen():
    it, link, model = app(session(vectors=('w = token " Paris"',)))
    link._respond = None
    async with it.run_test(size=(160, 50)) as pilot:
        await idle(pilot)
        assert screen(it).count("waiting for the model") > 3
        assert "no model is loaded" not in screen(it)
        link.reply(Failed("load", "gpt2 is not on this machine.", model="gpt2"))
        await idle(pilot)
        assert screen(it).count("no model is loaded: M chooses one") > 3
        assert "waiting for the model" not in screen(it)
        await pilot.press("z")
        await idle(pilot)
        assert "none is loaded yet: M chooses one" in screen(it)
        link._respond = model.respond
        it.change(replace(it.session, model="demo"))
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        assert "no model is loaded" not in screen(it)


@pytest.mark.parametrize("width", [40, 80, 120])
async def test_a_long_sentence_stands_on_up_to_three_rows(width: int):
    it, _, _ = app()
    async with it.run_test(size=(width, 30)) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        sentence = "A sentence whose last word is as important as its first one, " * 2 + "END."
        footer = screen(it).splitlines()[-1]
        for words in (sentence, sentence * 5, "short END."):
            it.say(words, bad=True)
            await idle(pilot)
            rows = screen(it).splitlines()
            assert rows[-1] == footer, "the keys stay where they are"
            first = next(y for y, row in enumerate(rows) if row.startswith(f" {words[:5]}"))
            taken = rows[first:-1]
            assert len(taken) == min(3, len(textwrap.wrap(f" {words}", width)))
            assert " ".join("".join(taken).split())[:60] == " ".join(words.split())[:60]
            assert taken[-1].rstrip().endswith("…" if len(words) > 3 * width else "END.")
        it.say("")
        await idle(pilot)
        assert "END." not in screen(it)


async def test_help_explains_the_pane():
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("g", "h", "question_mark")
        await idle(pilot)
        text = screen(it)
        assert "hook_z" in text
        assert "entropy" in text
        await pilot.press("escape", "z")
        await idle(pilot)
        assert edits(it) == ["zero L0H0"]


async def test_small_screens_show_one_pane_beside_the_next_tokens():
    it, _, _ = app()
    async with it.run_test(size=(80, 24)) as pilot:
        await idle(pilot)
        for letter, name in (
            ("h", "heads"),
            ("a", "attention"),
            ("n", "next_tokens"),
            ("r", "residual"),
            ("e", "effects"),
        ):
            await pilot.press("g", letter)
            await idle(pilot)
            assert {name, "tokens", "next_tokens"} <= set(it.board.seen())
            assert "waiting for the model" not in screen(it)


async def test_maximise_and_back():
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("g", "a", "f")
        await idle(pilot)
        assert it.board.seen() == ["tokens", "attention"]
        await pilot.press("escape")
        await idle(pilot)
        assert {"heads", "attention", "next_tokens", "effects"} < set(it.board.seen())


async def test_sessions_are_saved_and_opened(tmp_path):
    it, _, _ = app(session("zero L1H1"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        path = tmp_path / "a.toml"
        await pilot.press("S")
        it.line.field.value = str(path)
        await pilot.press("enter")
        await idle(pilot)
        assert "zero L1H1" in path.read_text()
        assert str(tmp_path) not in path.read_text()
        assert it.document().file == str(path), "what is kept of the session knows it"
        await pilot.press("g", "e", "d", "ctrl+o")
        await idle(pilot)
        it.line.field.value = str(path)
        await pilot.press("enter")
        await idle(pilot)
        assert edits(it) == ["zero L1H1"]


async def test_a_key_that_overtakes_the_word_of_the_one_before_is_not_lost():
    it, _, _ = app(session())
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        before = it.session.prompt
        editor = it.board.prompt
        editor.insert("x")
        editor.insert("y")  # typed before the app has heard of the x
        it.on_prompt_typed(Prompt.Typed())
        await idle(pilot)
        assert editor.text == it.session.prompt == before + "xy"
        editor.load_text(before + "xyz")
        it.on_prompt_typed(Prompt.Typed())
        assert editor.text == it.session.prompt == before + "xyz"


async def test_a_change_elsewhere_keeps_what_the_app_has_not_heard_of_yet():
    it, _, _ = app(session("zero L1H1"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        before = it.session.prompt
        it.board.prompt.insert("x")
        it.change(replace(it.session, edits=()))  # not through a key: the x is still on its way
        assert it.board.prompt.text == before + "x"
        await idle(pilot)
        assert it.session.prompt == before + "x"
        it.board.prompt.insert("y")
        it.do("undo")  # takes back the typing, and not the change before it
        assert it.board.prompt.text == it.session.prompt == before
        assert it.session.edits == ()


async def test_line_ends_that_an_editor_knows_as_one_stay_as_the_session_has_them():
    text = "one\u2028two\r\nthree\n"
    it, _, _ = app(replace(session(), prompt=text))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        it.do("redo")  # any action
        await idle(pilot)
        assert it.session.prompt == text
        await pilot.press("i", "x")
        await idle(pilot)
        assert it.session.prompt != text
        await pilot.press("escape", "u")
        await idle(pilot)
        assert it.session.prompt == text


async def test_a_download_begins_after_a_yes_to_its_size_and_esc_stops_it():
    it, link, _ = app(session())
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("F")
        await idle(pilot)
        assert Fetch("gpt2", ask=True) in link.sent
        assert "asking the hub how large gpt2 is" in screen(it)
        await pilot.press("enter")
        link.reply(Sized("gpt2", 548_000_000))
        await idle(pilot)
        assert "gpt2 is 548 MB: enter downloads it, esc does not" in screen(it)
        assert Fetch("gpt2") not in link.sent
        await pilot.press("escape")
        await idle(pilot)
        assert "nothing was downloaded" in screen(it)
        await pilot.press("ctrl+f")
        link.reply(Sized("gpt2", 548_000_000))
        await idle(pilot)
        await pilot.press("enter")
        await idle(pilot)
        assert link.sent[-1] == Fetch("gpt2")
        assert "asking the hub for gpt2" in screen(it)
        await pilot.press("escape")
        await idle(pilot)
        assert Cancel("fetch") in link.sent
        assert "files that had come whole are kept" in screen(it)


async def test_the_session_is_written_as_a_program(tmp_path):
    it, _, _ = app(session("zero L1H1"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        path = tmp_path / "a.py"
        await pilot.press("W")
        it.line.field.value = str(tmp_path / "a.txt")
        await pilot.press("enter")
        await idle(pilot)
        assert "should end in .py" in screen(it)
        it.line.field.value = str(path)
        await pilot.press("enter")
        await idle(pilot)
        program = path.read_text()
        compile(program, str(path), "exec")
        assert "# %% Edit zero L1H1\n" in program
        assert f'tokens = encode("{it.session.prompt}")\n' in program
        # What it holds the numbers to is what the panes show.
        shown = {question.line() for question in it.board.questions(it.picture, it.here)}
        assert set(re.findall(r'^answers\["clean", "(.*)"\] =', program, re.MULTILINE)) == shown
        # The pane of next tokens shows as many as it has room for.
        (next_tokens,) = (line for line in shown if line.startswith("next_tokens"))
        assert {"heads entropy", "attention L0H0"} <= shown
        top = it.talk.answers.known(parse_question(next_tokens)).edited.top
        wanted = program.partition(f'\nwanted["edited", "{next_tokens}"] = ')[2].partition("\n}")[0]
        assert " ".join(f"{candidate.prob:.4g}" for candidate in top) in wanted


async def test_the_session_is_written_as_a_notebook(tmp_path):
    it, _, _ = app(session("zero L1H1"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("W")
        it.line.field.value = str(tmp_path / "a.ipynb")
        await pilot.press("enter")
        await idle(pilot)
        cells = json.loads((tmp_path / "a.ipynb").read_text())["cells"]
        assert "## Edit zero L1H1" in "".join(cell["source"][0] for cell in cells if cell["cell_type"] == "markdown")
        compile("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"), "a", "exec")


async def test_a_model_that_no_program_can_load_gives_none(tmp_path):
    it, _, _ = app(session("zero L1H1"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        it.talk.ready = replace(it.talk.ready, place="")
        await pilot.press("W")
        it.line.field.value = str(tmp_path / "a.py")
        await pilot.press("enter")
        await idle(pilot)
        assert "no model that a program can load" in screen(it)
        assert not (tmp_path / "a.py").exists()


async def test_the_prompt_can_be_typed_while_the_model_loads():
    it, link, model = app(session(prompt="a"))
    respond, link._respond = link._respond, None
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        assert "loading" in screen(it)
        await pilot.press("i", *"bc", "escape")
        await idle(pilot)
        assert it.session.prompt == "abc"
        assert not [request for request in link.sent if isinstance(request, Ask)]
        link._respond = respond
        link.reply(respond(link.sent[0])[0])
        await idle(pilot)
        assert model.asks[0].session.prompt == "abc"
        assert "live" in screen(it)


async def test_markup_in_a_prompt_is_text():
    it, _, _ = app(session(prompt="[red]x[/red] [/]"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("i")
        await idle(pilot)
        assert "[red]x[/red] [/]" in screen(it)


@pytest.mark.parametrize("name", ["mechtui", "solarized-dark", "gruvbox", "tokyo-night", "textual-light"])
async def test_every_letter_on_the_screen_is_legible_in_its_theme(name: str, monkeypatch):
    monkeypatch.setenv("COLORTERM", "truecolor")
    start = session("zero L1H1 @-1", "add L6.pre w x2", vectors=("w = neuron L5N11",), source="When Tom went")
    it, _, _ = app(start, theme=name)
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        for keys in (
            (
                "g",
                "e",
            ),
            (
                "g",
                "c",
            ),
            ("colon", *"ze"),
            ("escape", "e", *"zap", "enter"),
        ):
            await pilot.press(*keys)
            await idle(pilot)
            for strip in it.screen._compositor.render_strips():
                for segment in strip:
                    style = segment.style
                    letters = any(char.isalnum() for char in segment.text)
                    if letters and style is not None and style.color is not None and style.bgcolor is not None:
                        front, back = (lightness(tuple(each.get_truecolor())) for each in (style.color, style.bgcolor))
                        assert contrast(front, back) >= 4.5, f"{segment.text!r} {style} after {keys}"


def generations(model: Model) -> int:
    return sum(isinstance(question, Generate) for ask in model.asks for question in ask.questions)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_a_generation_is_begun_by_its_key_and_not_by_going_to_its_pane(size: tuple[int, int]):
    it, _, model = app(session("zero L1H1"))
    async with it.run_test(size=size) as pilot:
        await idle(pilot)
        await pilot.press("g", "c")
        await idle(pilot)
        for key in ("h", "g", "e", "space", "g", "c", "tab", "shift+tab", "f", "f", "circumflex_accent"):
            await pilot.press(key)
            await idle(pilot)
        assert generations(model) == 0
        assert it.here == "generate"
        await pilot.press("full_stop")
        await idle(pilot)
        assert generations(model) == 1
        # It follows the edits while it is in front, and not when it was left.
        await pilot.press("left_square_bracket", "O")
        await idle(pilot)
        assert generations(model) == 2
        await pilot.press("1", "O", "g", "c", "O")
        await idle(pilot)
        assert generations(model) == 2


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_a_stopped_generation_stays_stopped(size: tuple[int, int]):
    it, link, model = app()
    async with it.run_test(size=size) as pilot:
        await idle(pilot)
        model.mute = True
        await pilot.press("full_stop")
        await idle(pilot)
        assert generations(model) == 1
        await pilot.press("escape")
        link.reply(Finished(model.asks[-1].generation, 5.0, "cancelled"))
        await idle(pilot)
        model.mute = False
        for key in ("left_square_bracket", "g", "h", "j", "g", "c", "h", "left_square_bracket"):
            await pilot.press(key)
            await idle(pilot)
        assert generations(model) == 1
        await pilot.press("full_stop")
        await idle(pilot)
        assert generations(model) == 2


@pytest.mark.parametrize("small", [(10, 3), (1, 1), (60, 12), (100, 30)], ids=str)
async def test_after_a_resize_and_back_the_screen_is_as_it_was(small: tuple[int, int]):
    it, _, _ = app(session("zero L1H1"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("left_square_bracket", "left_square_bracket")
        await idle(pilot)
        before = screen(it).splitlines()
        await pilot.resize_terminal(*small)
        await idle(pilot)
        await pilot.resize_terminal(*SIZE)
        await idle(pilot, lambda: screen(it).splitlines() == before)


async def test_what_was_set_for_another_prompt_is_marked_until_it_is_set_again():
    it, _, _ = app(session(source="When Tom and John went to the store, Tom gave a drink to"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("i", *" her")
        await idle(pilot)
        assert "earlier prompt" not in screen(it)
        it.change(replace(it.session, prompt="The sky is"))
        await pilot.press("escape")
        await idle(pilot)
        assert "answer and foil are of an" in screen(it)
        assert "of an earlier prompt" in str(it.board.panes["tokens"].border_title)
        await pilot.press("a", "x", "enter")
        await idle(pilot)
        assert "answer and foil are of an" not in screen(it)
        assert "of an earlier prompt" in str(it.board.panes["tokens"].border_title)
        await pilot.press("u", "u")
        await idle(pilot)
        assert "earlier prompt" not in screen(it)


async def test_a_prompt_that_is_cleared_and_written_anew_is_another(tmp_path: Path):
    it, _, _ = app(session(source="When Tom and John went to the store, Tom gave a drink to"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("i", "ctrl+u")
        await idle(pilot, lambda: it.session.prompt == "")
        await pilot.press(*"The sky", "escape")
        await idle(pilot)
        assert "answer and foil are of an" in screen(it)
        assert "of an earlier prompt" in str(it.board.panes["tokens"].border_title)
        it.open(session(prompt="The sea is"), tmp_path / "sea.toml")
        await idle(pilot)
        assert "answer and foil are of an" not in screen(it)


async def test_what_was_said_of_one_prompt_does_not_stay_for_the_next():
    it, link, model = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        model.mute = True
        await pilot.press("i", "ctrl+u")
        await idle(pilot)
        link.reply(Failed("ask", "The prompt is empty.", model.asks[-1].generation))
        await idle(pilot)
        assert "The prompt is empty." in screen(it)
        model.mute = False
        await pilot.press("a")
        await idle(pilot)
        assert "The prompt is empty." not in screen(it)


async def test_a_vector_that_is_added_elsewhere_than_it_was_read_is_told():
    it, _, _ = app(session(vectors=('love = diff L6.pre "Love" "Hate"',)))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("e", *"add L2.pre love x2", "enter")
        await idle(pilot)
        assert "love was read at L6.pre and is added at L2.pre." in screen(it).splitlines()[-2]
