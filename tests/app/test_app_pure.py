"""What the app is made of and needs no terminal: changes, completion, the plan, answers, words of the status."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mechtui.app.clipboard import LIMIT, TooLongError, fitting
from mechtui.app.conversation import Conversation, News, Said
from mechtui.app.edits_line import Known, complete, complete_edit, complete_question, complete_vector
from mechtui.app.exporting import exported
from mechtui.app.layout import AROUND, Wish, plan, too_small
from mechtui.app.models import size, suggestions
from mechtui.app.state import Answers, Arrangement, difference
from mechtui.app.status import about, bar, focus, left, loading
from mechtui.app.workspaces import WorkspaceError, built_in, panes, read, with_own
from mechtui.link.messages import Answered, Checked, Stage, Started
from mechtui.paint.nans import nan_shown
from mechtui.paint.palette import Depth, palette
from mechtui.session import changes
from mechtui.session.changes import CannotError
from mechtui.session.dictionaries import About
from mechtui.session.document import Focus, Sae, Session, Token
from mechtui.session.grammar.edits import format_edit, parse_edit
from mechtui.session.grammar.vectors import parse_vector
from mechtui.session.grammar.words import LineError
from mechtui.views import parse_question, specs
from mechtui.views.attention import Attention
from mechtui.views.heads import Heads
from mechtui.views.next_tokens import NextTokens
from mechtui.views.residual import Residual
from mechtui.views.spec import Follows
from mechtui.views.sweep import Sweep
from mechtui.views.tokens import Tokens
from tests.app.answering import app, idle, ready, session, shape
from tests.panes.pictures import picture

VECTOR = 'love = diff L6.pre "Love" "Hate"'


def lines(document):
    return [format_edit(edit) for edit in document.edits]


# Changes


def test_the_same_edit_again_takes_it_away_and_one_that_is_off_goes_on():
    once = changes.edit_sites(session(), "zero", [changes.head_site(1, 2)])
    assert lines(once) == ["zero L1H2"]
    off = changes.toggle(once, 0)
    assert lines(off) == ["# zero L1H2"]
    assert lines(changes.edit_sites(off, "zero", [changes.head_site(1, 2)])) == ["zero L1H2"]
    assert lines(changes.edit_sites(once, "zero", [changes.head_site(1, 2)])) == []


def test_what_cannot_be_changed_is_said():
    with pytest.raises(CannotError, match="and there is none"):
        changes.edit_sites(session(), "patch", [changes.head_site(0, 0)])
    with pytest.raises(CannotError, match="cannot see position 5"):
        changes.cut_edge(session(), 0, 0, 3, 5)
    with pytest.raises(CannotError, match="no edit yet"):
        changes.delete(session(), 0)
    with pytest.raises(CannotError, match="zero has no number"):
        changes.nudge(session("zero L1H1"), 0, 1)
    with pytest.raises(CannotError, match="first already"):
        changes.shift(session("zero L1H1"), 0, -1)


@pytest.mark.parametrize(
    ("line", "up", "down"),
    [
        ("scale L1H1 x0.2", "scale L1H1 x0.3", "scale L1H1 x0.1"),
        ("add L6.pre love x5", "add L6.pre love x5.5", "add L6.pre love x4.5"),
        ("noise embed sd0.5 seed3", "noise embed sd1 seed3", "noise embed sd0 seed3"),
        ("resample L1H1 seed0", "resample L1H1 seed1", "resample L1H1 seed0"),
    ],
)
def test_numbers_go_up_and_down_by_steps(line, up, down):
    start = session(line, vectors=(VECTOR,))
    assert lines(changes.nudge(start, 0, 1)) == [up]
    assert lines(changes.nudge(start, 0, -1)) == [down]


def test_ten_steps_of_a_tenth_are_one():
    document = session("scale L1H1 x0")
    for _ in range(10):
        document = changes.nudge(document, 0, 1)
    assert lines(document) == ["scale L1H1 x1"]


def test_a_vector_of_a_name_is_replaced_and_one_in_use_stays():
    document = changes.put_vector(session("add L6.pre love x5", vectors=(VECTOR,)), parse_vector("love = neuron L1N2"))
    assert [vector.source for vector in document.vectors] == ["neuron"]
    with pytest.raises(CannotError, match="Edit 1 uses love"):
        changes.delete_vector(document, 0)


# Completion

KNOWN = Known(session(vectors=(VECTOR,)), shape(), (Token(1, "When"), Token(2, ' "x')), 9, 3, 1)


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("", "zero"),
        ("sc", "scale"),
        ("zero ", "L9H3"),
        ("zero L4.m", "L4.mlp"),
        ("zero L4H2.p", "L4H2.pattern"),
        ("add ", "L9.attn"),
        ("add L6.pre ", "love"),
        ("add L6.pre love ", "x1"),
        ("zero L9H3 @", "@1"),
        ("scale L9H3 x", "x0"),
        ("cut L9H3 ", "-1>0"),
        ("# ze", "zero"),
    ],
)
def test_edit_lines_complete(typed, first):
    assert complete_edit(typed, KNOWN)[0].word == first


@given(st.lists(st.integers(0, 5), min_size=1, max_size=5))
def test_whatever_is_completed_is_a_line_or_the_beginning_of_one(picks):
    text = ""
    for pick in picks:
        found = complete_edit(text, KNOWN)
        if not found:
            break
        text = complete(text, found[pick % len(found)])
    try:
        parse_edit(text.rstrip())
    except LineError as error:
        wrong = text.rstrip()[error.column :]
    else:
        wrong = ""
    # What is not finished is missing at the end, or is a layer that a head or a part must follow.
    assert wrong == "" or re.fullmatch(r"L\d+", wrong)


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("att", "attention"),
        ("attention ", "L9H3"),
        ("attention L3H4 s", "scores"),
        ("attention L3H4 value c", "clean"),
        ("heads ", "first"),
        ("heads norm di", "difference"),
        ("heads norm @", "@1"),
        ("next_tokens t", "top20"),
        ("generate 40 t", "temperature0.8"),
        ("sweep z", "zero"),
        ("sweep zero ", "L9H3"),
        ("tokens ", "ids"),
    ],
)
def test_question_lines_complete(typed: str, first: str) -> None:
    found = complete_question(typed, KNOWN)
    assert found[0].word == first
    assert found[0].note
    assert complete(typed, found[0]).rstrip() == typed[: found[0].start] + first


@pytest.mark.parametrize("view", specs())
def test_every_word_that_is_offered_means_something(view: str) -> None:
    line = f"{view} "
    for _ in range(3):
        found = complete_question(line, KNOWN)
        if specs()[view].question is not Sweep:
            for each in found:
                parse_question(line[: each.start] + each.word)
        if not found:
            break
        line = complete(line, found[0])
    begun = (f"{view} ", f"{view} L3H4 ", f"{view} 9 ", f"{view} -8..8 ")
    offered = {each.word for text in begun for each in complete_question(text, KNOWN)}
    assert {word for word, _ in specs()[view].line_words} <= offered


def test_a_dictionary_that_the_session_names_is_offered() -> None:
    known = KNOWN._replace(session=replace(KNOWN.session, saes=(Sae("res8", "a/b"),)))
    assert [each[:2] for each in complete_question("features r", known)] == [("res8", "a/b")]
    assert complete_question("features r", KNOWN) == []


def test_vector_lines_complete():
    assert complete_vector("v = d", KNOWN)[0].word == "diff"
    assert complete_vector("v = diff L", KNOWN)[0].word == "L9.attn"
    assert [each.word for each in complete_vector("v = diff L9.pre ", KNOWN)] == ["file", "columns"]
    assert [each.word for each in complete_vector("v = mean L9.pre c", KNOWN)] == ["column"]
    assert complete_vector('v = token " \\', KNOWN)[0].word == '" \\"x"'


# The plan


EVERY_VIEW = st.sampled_from(panes())


@given(
    st.integers(1, 300),
    st.integers(1, 100),
    st.sampled_from(built_in()),
    st.lists(EVERY_VIEW, max_size=4),
    st.sampled_from(["", *panes()]),
    st.sampled_from(["", "prompt", "source"]),
    st.integers(-40, 40),
    st.sampled_from([(2, 2), (12, 12), (30, 9), (64, 32)]),
)
def test_panes_lie_within_the_window_and_never_over_each_other(
    width, height, workspace, recent, maximised, writing, wider, size
):
    wish = Wish(
        Arrangement(recent=tuple(recent), maximised=maximised, wider=wider),
        workspace,
        shape(*size),
        writing,
        2,
        4,
        (6, 9),
        14,
    )
    made = plan(width, height, wish)
    seen = list(made.regions.items())
    for name, region in seen:
        assert min(region.x, region.y) >= 0, name
        assert region.right <= width, name
        assert region.bottom <= height, name
    for index, (name, region) in enumerate(seen):
        for other, its in seen[index + 1 :]:
            assert not region.overlaps(its), (name, other)
    assert made.bare <= set(made.regions)
    for view, tabs in made.tabs.items():
        assert view in tabs
    if too_small(width, height + AROUND):
        assert set(made.regions) == {"small"}
    elif not maximised:
        assert "next_tokens" in made.regions
        # Whatever is not seen has its name where it may be called.
        assert set(workspace.views) <= set(made.regions) | {view for tabs in made.tabs.values() for view in tabs}


SHOWN = {
    (80, 24): ({"attention"}, {"next_tokens"}),
    (100, 30): ({"heads", "attention"}, {"next_tokens", "effects"}),
    (160, 45): ({"heads", "scores", "attention", "lens"}, {"next_tokens", "effects", "vectors"}),
    (220, 60): (
        {"heads", "scores", "attention", "residual", "loss", "lens", "attribution"},
        {"next_tokens", "effects", "vectors"},
    ),
}


@pytest.mark.parametrize("size", SHOWN, ids=str)
def test_a_window_shows_what_it_has_room_for(size: tuple[int, int]):
    made = plan(size[0], size[1] - AROUND, Wish(Arrangement(), built_in()[0], shape()))
    columns, rail = SHOWN[size]
    assert set(made.regions) == {"tokens"} | (columns & set(panes())) | rail


def test_a_place_has_no_more_rows_than_its_view_fills_where_others_fill_the_rest():
    look = built_in()[0]
    explain = built_in()[1]
    made = plan(220, 57, Wish(Arrangement(), explain, shape(30, 9), tokens=14, top_rows=1)).regions
    # 16 tokens, two rows of names, the frame.
    assert [made[view].height for view in ("sweep", "attention")] == [57 - 3 - 20, 20]
    assert made["heads"].height == 34
    # A prompt that grows by a token moves nothing.
    assert plan(220, 57, Wish(Arrangement(), explain, shape(30, 9), tokens=15, top_rows=1)).regions == made
    # A long one fills whatever there is, a window that is lower shares out.
    for tokens, height in ((400, 57), (0, 57), (14, 40)):
        regions = plan(220, height, Wish(Arrangement(), look, shape(30, 9), tokens=tokens)).regions
        rows = [regions[view].height for view in ("attention", "residual", "loss") if view in regions]
        assert max(rows) - min(rows) <= 6


def test_the_rail_is_the_result_s_but_for_what_edits_and_vectors_fill():
    look = built_in()[0]

    def rail(height: int, *rows: int) -> list[int]:
        made = plan(220, height, Wish(Arrangement(), look, shape(), rail_rows=rows)).regions
        return [made[view].height for view in ("next_tokens", "effects", "vectors") if view in made]

    assert rail(57, 0, 0) == [41, 6, 6]
    assert rail(57, 5, 6) == [37, 8, 8]
    # In steps: the next edit moves nothing.
    assert rail(57, 6, 6) == rail(57, 5, 6)
    assert rail(57, 40, 40) == [19, 17, 17]
    assert rail(27, 0, 0) == [17, 6]


def test_a_wide_window_gives_the_map_room_for_the_list_below_it():
    look = built_in()[0]
    widths = [plan(width, 57, Wish(Arrangement(), look, shape(30, 9))).regions["heads"].width for width in (160, 220)]
    # 8 and 9 whole columns of 3, of 5.
    assert widths == [35, 53]


def test_a_view_that_is_called_comes_to_the_front_of_its_place():
    wish = Wish(Arrangement(recent=("residual",)), built_in()[0], shape())
    assert "residual" in plan(80, 21, wish).regions
    assert "attention" not in plan(100, 27, wish).regions
    assert "residual" in plan(100, 27, wish).regions
    guest = wish._replace(arrangement=Arrangement(recent=("generate",), guest="generate"))
    for window in ((80, 21), (100, 27), (160, 42), (220, 57)):
        assert "generate" in plan(*window, guest).regions


def test_called_views_are_remembered_and_a_window_of_its_own_follows():
    called = Arrangement(maximised="heads").with_front("lens").with_front("residual").with_front("lens")
    assert called.recent == ("lens", "residual")
    assert called.maximised == "lens"
    assert Arrangement().with_front("lens").maximised == ""


def test_a_workspace_is_columns_of_places_of_question_lines():
    made = read("Mine", ("heads norm / effects", "attention | residual log"))
    assert made.columns == ((("heads",), ("effects",)), (("attention", "residual"),))
    assert made.lines == ("heads norm", "residual log")
    assert (made.views, made.main) == (("heads", "effects", "attention", "residual"), "attention")


def test_workspaces_of_the_settings_come_behind_or_in_place_of_the_built_in_ones():
    own = with_own({"Steer": ("vectors", "generate"), "Mine": ("heads norm / effects",)})
    assert [workspace.name for workspace in own] == ["Look", "Explain", "Weights", "Units", "Steer", "Compare", "Mine"]
    assert own[4].views == ("vectors", "generate")
    assert own[-1].main == "heads"


@pytest.mark.parametrize(
    ("own", "why"),
    [
        ({"Mine": ()}, "[workspaces] Mine has no column"),
        ({"Mine": ("heads nrm",)}, "[workspaces] Mine: 'heads nrm': nrm should be entropy"),
        ({f"W{number}": ("heads",) for number in range(10 - len(built_in()))}, "makes 10 workspaces"),
    ],
)
def test_workspaces_of_the_settings_that_cannot_be_are_told(own: dict[str, tuple[str, ...]], why: str):
    with pytest.raises(WorkspaceError, match=re.escape(why)):
        with_own(own)


async def test_a_workspace_of_ones_own_is_reached_by_its_digit_and_shows_its_lines():
    it, _, _ = app(workspaces={"Mine": ("heads norm", "residual log")})
    async with it.run_test(size=(120, 40)) as pilot:
        await idle(pilot)
        await pilot.press(str(len(built_in()) + 1))
        await idle(pilot)
        assert it.here == "residual"
        assert it.session.views == ("heads norm", "residual log")
        assert {"heads", "residual"} < set(it.board.seen())


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        (("heads", "heads norm"), "heads stands there twice"),
        (("tokens",), "tokens stands above every workspace"),
        (("heads nrm",), "nrm should be"),
        (("haeds",), "did you mean heads"),
        (("heads / ",), "nothing is not a question"),
    ],
)
def test_a_workspace_that_cannot_be_is_refused(columns: tuple[str, ...], why: str):
    with pytest.raises(LineError, match=why):
        read("Mine", columns)


# Answers


def test_answers_of_an_older_session_are_refused_and_the_older_stay_to_be_seen():
    answers = Answers()
    question = Residual()
    first = Answered(1, question, None, None, 1.0)
    assert answers.of("residual", (question,)) == ((), True)
    assert answers.take(first)
    assert answers.of("residual", (question,)) == ((first,), False)
    answers.changed(2, Follows.SESSION)
    assert not answers.take(first)
    assert answers.of("residual", (question,)) == ((first,), True)
    assert answers.wanted((question, question)) == (question,)


def test_what_depends_on_the_texts_alone_stays_while_they_do():
    answers = Answers()
    tokens, residual = (Answered(1, question, None, None, 1.0) for question in (Tokens(), Residual()))
    answers.take(tokens)
    answers.take(residual)
    answers.changed(2, Follows.SESSION)
    assert answers.of("tokens", (Tokens(),)) == ((tokens,), False)
    assert answers.wanted((Tokens(), Residual())) == (Residual(),)
    answers.changed(3, Follows.TEXTS)
    assert answers.wanted((Tokens(), Residual())) == (Tokens(), Residual())


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("edits", (parse_edit("zero L0H0"),), Follows.SESSION),
        ("vectors", (parse_vector("v = neuron L0N5"),), Follows.SESSION),
        ("references", ("a text",), Follows.SESSION),
        ("answer", " a", Follows.SESSION),
        ("foil", " b", Follows.SESSION),
        ("views", ("residual",), None),
        ("model", "another", Follows.MODEL),
        ("prompt", "another", Follows.TEXTS),
        ("source", "another", Follows.TEXTS),
        ("linear", True, Follows.SESSION),
        ("bos", "no", Follows.TEXTS),
        ("align", "left", Follows.TEXTS),
    ],
)
def test_what_a_change_makes_old(field: str, value: object, what: Follows | None):
    before = session()
    assert difference(before, replace(before, **{field: value})) is what


def test_what_is_still_being_generated_is_still_wanted():
    answers = Answers()
    answers.take(Answered(1, Residual(), None, None, 1.0, partial=True))
    assert answers.wanted((Residual(),)) == (Residual(),)


def test_questions_about_the_last_token_hold_while_text_is_added():
    whole = picture(count=14, focus=Focus(layer=2, head=3))
    assert whole.question(Heads) == Heads("entropy", -1)
    assert replace(whole, focus=Focus(position=13)).question(NextTokens) == NextTokens(13)
    assert whole.question(Attention) == Attention(2, 3)
    assert whole.question(Residual) == Residual()


# Words


def test_the_bar_is_as_wide_as_it_says():
    assert bar(0.0, 0) == "░" * 16
    assert bar(1.0, 0) == "█" * 16
    assert bar(0.5, 0) == "█" * 8 + "░" * 8
    assert {len(bar(None, seconds / 8)) for seconds in range(100)} == {16}


def test_loading_says_stage_share_and_seconds():
    text = loading(Stage("load", "reading weights", 0.43, "231 of 548 MB"), "gpt2", 2.13, palette(Depth.TRUE)).plain
    for words in ("gpt2", "reading weights", "43%", "2.1 s", "231 of 548 MB"):
        assert words in text


def test_what_is_prepended_is_always_said():
    assert "no BOS" in about(ready(), 3, "auto", palette(Depth.TRUE)).plain
    assert about(ready(), 3, "auto", palette(Depth.TRUE), linear=True).plain.startswith("linear ")
    assert "BOS <|endoftext|> (set)" in about(ready(), 3, "yes", palette(Depth.TRUE)).plain


def test_copies_have_a_limit():
    assert fitting("a\ud800") == "a\\ud800"
    assert len(fitting("x" * LIMIT)) == LIMIT
    with pytest.raises(TooLongError, match="74,001 bytes"):
        fitting("x" * (LIMIT + 1))


def test_the_picker_offers_what_is_typed():
    rows = suggestions((), ("gpt2",), "my/model")
    assert [row.run for row in rows] == ["my/model"]
    assert [row.run for row in suggestions((), ("gpt2",), "")] == ["gpt2"]
    assert size(548_000_000) == "548 MB"


def test_what_the_self_check_found_stays_on_the_status_line():
    class Silent:
        on_reply = None

        def send(self, request):
            pass

    talk = Conversation(Silent(), session())
    talk.hear(ready())
    before = left(talk, 3, session(), palette(Depth.TRUE), False).plain
    assert talk.hear(Checked("gpt2", {"logits": 0.0}, 0.01)) is News.STATUS
    assert left(talk, 3, session(), palette(Depth.TRUE), False).plain == before
    talk.hear(Checked("another", {"logits": 3.0}, 0.01, "of another model"))
    assert left(talk, 3, session(), palette(Depth.TRUE), False).plain == before
    assert News.SAID in talk.hear(Checked("gpt2", {"logits": 3.0}, 0.01, "Self-check: logits are off."))
    assert left(talk, 3, session(), palette(Depth.TRUE), False).plain == " gpt2  Self-check: logits are off."
    assert talk.hear_out() == [("Self-check: logits are off.", True, "")]
    talk.hear(ready())
    assert left(talk, 3, session(), palette(Depth.TRUE), False).plain == before
    talk.hear(replace(ready(), odd="1 weight tensor holds NaN."))
    assert nan_shown(math.nan)
    assert talk.hear_out()[-1] == Said("1 weight tensor holds NaN.", bad=True)
    talk.hear(Checked("gpt2", {"logits": 0.0}, 0.01))
    assert talk.unsound == "1 weight tensor holds NaN.", "it stays on the status line"
    talk.hear(ready())
    assert talk.unsound == ""
    assert not nan_shown(math.nan)


@pytest.mark.parametrize("room", range(12, 80, 4))
@pytest.mark.parametrize("saved", [True, False])
def test_a_sessions_name_takes_what_the_workspaces_leave(room: int, saved: bool):
    text = focus(picture(), None, ("demo-when-mary-and-john", saved), palette(Depth.TRUE), room).plain
    rest = focus(picture(), None, ("", True), palette(Depth.TRUE), room).plain
    assert text.startswith(rest.rstrip())
    assert len(text) <= max(room, len(rest) + 2)
    assert (" •" in text) is not saved
    assert ("demo-when-mary-and-john" in text) == (room >= len(rest.rstrip()) + 26 + (0 if saved else 2))


def test_features_of_the_sessions_dictionaries_are_offered() -> None:
    known = Known(Session(saes=(Sae("res8", "a"),)))
    assert "res8F0" in [each.word for each in complete_edit("clamp ", known)]
    assert "res8F0" not in [each.word for each in complete_edit("project ", known)]
    assert [each.word for each in complete_edit("add res8F3 x", known)] == ["x1", "x5", "x-5"]


def test_a_program_is_given_the_dictionaries_that_lines_named_whenever_that_was():
    class Sends:
        on_reply = None

        def send(self, request):
            pass

    def told(name: str, file: str) -> About:
        return About(name, "SAELens", "standard", file, "blocks.0.hook_resid_pre", "blocks.0.hook_resid_pre", 9, 32)

    talk = Conversation(Sends(), session())
    talk.hear(ready())
    for dictionaries in ((told("a", "old"), told("b", "b")), (), (told("a", "new"),)):
        talk.hear(Started(99, (), dictionaries))
    assert exported(picture(), talk, (), ()).dictionaries == (told("a", "new"), told("b", "b"))
