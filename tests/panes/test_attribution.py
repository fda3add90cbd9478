"""The ledger: its lines add up to what stands under them, at every size; what the cursor is on, and where it leads."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.text import Text
from textual.pilot import Pilot

from mechtui.link.messages import Answered
from mechtui.paint.palette import Depth, palette
from mechtui.panes.pane import Focus, Picture
from mechtui.session.changes import CannotError
from mechtui.session.document import Site
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.places import format_site, parse_site
from mechtui.views import cost_of, example_of, parse_question, put
from mechtui.views.attention import Attention
from mechtui.views.attribution import (
    Ablated,
    Attribution,
    AttributionAnswer,
    Components,
    Neurons,
    Repair,
    Sources,
)
from mechtui.views.attribution.pane import AttributionPane
from mechtui.views.example import COUNT, NEXT
from mechtui.views.spec import Cost
from mechtui.views.sweep import Sweep, SweepAnswer
from tests.panes.pictures import Holder, pictured, shown

NUMBER = re.compile(r"(?<!\S)[+-]?\d*\.\d+(?!\S)")


def of_line(line: str, focus: Focus | None = None, edits: tuple[str, ...] | None = None) -> Picture:
    """The example as the pane shows it under this line; a head or an MLP that it opens gets numbers by hand."""
    given_picture = pictured(example_of("attribution"), focus)
    session, question = given_picture.session, parse_question(line)
    assert isinstance(question, Attribution)
    if edits is not None:
        session = replace(session, edits=tuple(map(parse_edit, edits)))
    if question.site is not None:
        clean, edited = (opened(question.site, seed) for seed in (0, 1))
        answered = (Answered(1, question.asked(), clean, edited if session.active_edits() else None, 1.0),)
        given_picture = replace(given_picture, answered=answered)
    elif not session.active_edits():
        (known,) = given_picture.answered
        given_picture = replace(given_picture, answered=(replace(known, edited=None),))
    return replace(given_picture, session=put(session, question))


def opened(site: Site, seed: int) -> AttributionAnswer:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=COUNT).astype(np.float32)
    parts: Sources | Neurons
    if site.kind == "head":
        parts = Sources(values, np.full(COUNT, 1 / COUNT, np.float32), 0.25, 0.5)
        total = float(values.sum()) + 0.75
    else:
        parts = Neurons(tuple(range(5, 5 + COUNT)), values, np.abs(values), -0.125, 0.25, 0.5)
        total = float(values.sum()) + 0.625
    return AttributionAnswer(COUNT - 1, NEXT[0], NEXT[1], False, parts, total, 1e-3)


def pane_of(given_picture: Picture, width: int = 80, height: int = 24) -> AttributionPane:
    pane = AttributionPane()
    pane.show(given_picture)
    pane.draw(given_picture, width, height)
    return pane


def number(text: str) -> float:
    """The first number of a line."""
    found = NUMBER.search(text)
    assert found is not None, text
    return float(found[0])


@pytest.mark.parametrize("size", [(28, 8), (46, 12), (80, 24), (120, 40), (200, 55), (60, 200)])
async def test_what_is_in_sight_and_what_is_not_add_up(size: tuple[int, int]) -> None:
    app = Holder(AttributionPane())
    async with app.run_test(size=size) as pilot:
        for site in ("", " L9H9", " L9.mlp"):
            for words in ("", " clean", " difference", " unsorted", " unsorted difference"):
                await adds_up(app, pilot, f"attribution{site}{words}")


async def adds_up(app: Holder, pilot: Pilot[None], line: str) -> None:
    given_picture = of_line(line)
    (known,) = given_picture.answered
    clean, edited = known.clean, known.edited
    assert isinstance(clean, AttributionAnswer)
    assert isinstance(edited, AttributionAnswer)
    run = line.rpartition(" ")[2]
    total = {"clean": clean.total, "difference": edited.total - clean.total}.get(run, edited.total)
    app.pane.show(given_picture)
    await pilot.pause()
    for step in (app.pane.home, lambda: app.pane.move(0, 7), app.pane.end, lambda: app.pane.page(-1)):
        step()
        await pilot.pause()
        _, *lines = (each for each in shown(app.pane) if each.strip() and "←→" not in each)
        *each, last = lines
        assert last.split()[0] == "total", line
        assert number(last) == pytest.approx(total, abs=0.006), line
        assert sum(map(number, each)) == pytest.approx(total, abs=0.005 * (len(each) + 2)), line
        more = [each_line for each_line in each if each_line.split()[1] == "more"]
        count = sum(int(each_line.split()[0]) for each_line in more) + len(each) - len(more)
        assert count == lines_of(clean), line


def lines_of(answer: AttributionAnswer) -> int:
    """How many lines an answer of the example's shape has, edits among them."""
    match answer.parts:
        case Components() as parts:
            return parts.heads.size + parts.mlps.size + 4
        case Sources():
            return COUNT + 2
        case Neurons():
            return COUNT + 3


async def test_it_adds_up_while_one_scrolls_without_the_cursor() -> None:
    app = Holder(AttributionPane())
    async with app.run_test(size=(80, 20)) as pilot:
        app.pane.show(of_line("attribution"))
        await pilot.pause()
        before = shown(app.pane)
        app.pane.scroll_to(0, 30, animate=False, force=True)
        await pilot.pause()
        _, *each, last = shown(app.pane)
        assert shown(app.pane)[1] != before[1]
        assert sum(map(number, each)) == pytest.approx(number(last), abs=0.2)
        assert each[-1].split()[1] == "more"


@settings(max_examples=60, deadline=None)
@given(
    line=st.sampled_from(["", " L9H9", " L9.mlp", " map", " unsorted", " answer", " map difference", " difference"]),
    edits=st.sampled_from([None, (), ("zero L9.mlp", "zero L9N7", "zero L9H9", "scale embed x2")]),
    focus=st.builds(Focus, *[st.integers(-3, 50)] * 6),
    width=st.integers(1, 200),
    height=st.integers(1, 60),
    depth=st.sampled_from(list(Depth)),
)
def test_draws_anything_at_any_size(
    line: str, edits: tuple[str, ...] | None, focus: Focus, width: int, height: int, depth: Depth
) -> None:
    pane = AttributionPane()
    pane.palette = palette(depth)
    given_picture = of_line(f"attribution{line}", focus, edits)
    pane.show(given_picture)
    for move in ((0, 0), (0, 3), (1, 0), (0, -(10**6))):
        pane.move(*move)
        page = pane.draw(pane.picture or given_picture, width, height)
        lines = page.head(0)[: page.head_rows] + [page.row(i, 0) for i in range(page.rows)] + page.foot
        assert page.head_rows + len(page.foot) < max(height, 2)
        assert page.cursor is None or 0 <= page.cursor < page.rows
        assert "\n" not in "".join(segment.text for each in lines for segment in each)
        pane.value()
        pane.row()
        pane.into(given_picture)
        pane.sites(given_picture)


async def test_the_largest_stand_first_or_the_models_order() -> None:
    app = Holder(AttributionPane())
    async with app.run_test(size=(80, 60)) as pilot:
        for words in ("clean", "clean unsorted"):
            app.pane.show(of_line(f"attribution {words}"))
            await pilot.pause()
            app.pane.home()
            await pilot.pause()
            lines = [line for line in shown(app.pane)[1:] if line.split()[1] != "more"][:-1]
            sizes = [abs(number(line)) for line in lines]
            names = [line.split()[0].rstrip("*") for line in lines]
            if words == "clean":
                assert sizes == sorted(sizes, reverse=True)
                assert names[0] == "L9H9"
            else:
                assert names[:4] == ["embed", "pos", "L0H0", "L0H1"]
                assert names[14:16] == ["L0.mlp", "L1H0"]


async def test_what_an_edit_silences_stays_where_it_was() -> None:
    app = Holder(AttributionPane())
    async with app.run_test(size=(80, 20)) as pilot:
        for words in ("", " clean", " difference"):
            app.pane.show(of_line(f"attribution{words}"))
            await pilot.pause()
            assert shown(app.pane)[1].split()[0] == "L9H9*"
        app.pane.show(of_line("attribution difference"))
        await pilot.pause()
        assert shown(app.pane)[2].split()[0] == "edits"


def test_neurons_as_the_model_numbers_them() -> None:
    given_picture = of_line("attribution L9.mlp unsorted")
    (known,) = given_picture.answered
    assert isinstance(known.clean, AttributionAnswer)
    parts = known.clean.parts
    assert isinstance(parts, Neurons)
    turned = replace(parts, neurons=parts.neurons[::-1])
    answered = replace(known, clean=replace(known.clean, parts=turned), edited=None)
    pane = pane_of(replace(given_picture, answered=(answered,)))
    assert [pane.row().split()[0], pane.value()] == ["L9N5", f"{float(parts.values[-1]):.6g}"]


async def test_the_title_says_what_is_explained() -> None:
    app = Holder(AttributionPane())
    async with app.run_test(size=(80, 24)) as pilot:
        given_picture = of_line("attribution")
        app.pane.show(given_picture)
        await pilot.pause()
        assert Text.from_markup(str(app.pane.border_title)).plain == "Attribution ·Mary − ·John @13 edited"
        (known,) = given_picture.answered
        assert isinstance(known.clean, AttributionAnswer)
        alone = replace(known.clean, foil=None, auto=True)
        app.pane.show(replace(given_picture, answered=(replace(known, clean=alone, edited=None),)))
        await pilot.pause()
        assert Text.from_markup(str(app.pane.border_title)).plain == "Attribution ·Mary (auto) @13"
        app.pane.show(of_line("attribution L9H9 difference"))
        await pilot.pause()
        assert Text.from_markup(str(app.pane.border_title)).plain == "Attribution L9H9 ·Mary − ·John @13 difference"


async def test_the_cursor_and_the_screens_head_are_one() -> None:
    app = Holder(AttributionPane())
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.show(of_line("attribution clean"))
        await pilot.pause()
        pane = app.pane
        assert pane.row().split()[0] == "L9H9"
        pane.move(0, 1)
        await pilot.pause()
        name = pane.row().split()[0]
        assert app.looked
        assert (app.looked[-1].layer, app.looked[-1].head) == tuple(map(int, re.findall(r"\d+", name)))
        assert pane.picture is not None
        pane.show(replace(pane.picture, focus=Focus(layer=4, head=7)))
        await pilot.pause()
        assert pane.row().split()[0] == "L4H7"
        assert any(line.startswith(" L4H7") for line in shown(pane))
        assert pane.search("L3.mlp")
        assert pane.row().split()[0] == "L3.mlp"
        assert pane.sites(pane.picture) == (parse_site("L3.mlp"),)
        assert pane.search("bias")
        assert pane.sites(pane.picture) == ()


def test_a_line_opens_and_its_token_leads_to_the_attention() -> None:
    given_picture = of_line("attribution @-1 answer clean")
    pane = pane_of(given_picture)
    assert pane.into(given_picture) == Attribution(parse_site("L9H9"), -1, True, run="clean")
    assert pane.search("L3.mlp")
    assert pane.into(given_picture) == Attribution(parse_site("L3.mlp"), -1, True, run="clean")
    assert pane.search("embed")
    assert pane.into(given_picture) is None
    given_picture = of_line("attribution L9H9 unsorted")
    looked: list[Focus] = []
    pane = pane_of(given_picture)
    pane.on_look = looked.append
    pane.move(0, 3)
    assert pane.into(given_picture) == Attention(9, 9)
    assert (looked[-1].layer, looked[-1].head, looked[-1].key) == (9, 9, 3)
    assert pane.sites(given_picture) == (parse_site("L9H9"),)
    pane = pane_of(of_line("attribution L9.mlp unsorted"))
    pane.move(0, 2)
    assert [format_site(site) for site in pane.sites(given_picture)] == ["L9N7"]
    assert pane.into(given_picture) is None


class Desk:
    """What the pane's own actions use of it."""

    def __init__(self, given_picture: Picture) -> None:
        self.session = given_picture.session

    def put(self, question: Attribution) -> None:
        self.session = put(self.session, question)

    def change(self, session: object) -> None:
        self.session = session


def test_a_column_that_is_gone_leaves_the_cursor_on_the_first() -> None:
    pane = pane_of(of_line("attribution L9H9"))
    pane.move(10, 0)
    without = of_line("attribution", edits=())
    pane.show(without)
    pane.draw(without, 80, 24)
    assert pane.value() == f"{number_of(pane, 'L9H9'):.6g}"


def number_of(pane: AttributionPane, name: str) -> float:
    assert pane._shown is not None
    return next(write.value for write in pane._shown.writes if write.name == name)


def test_its_own_keys() -> None:
    given_picture = of_line("attribution")
    pane, desk = pane_of(given_picture), Desk(given_picture)
    pane.do_alone(desk)  # type: ignore[arg-type]
    assert desk.session.views == ("attribution answer",)
    with pytest.raises(CannotError, match="enter opens a head"):
        pane.do_cut_source(desk)  # type: ignore[arg-type]
    given_picture = of_line("attribution L9H9 unsorted")
    pane, desk = pane_of(given_picture), Desk(given_picture)
    pane.move(0, 4)
    pane.do_cut_source(desk)  # type: ignore[arg-type]
    assert desk.session.edits[-1] == parse_edit("cut L9H9 13>4")


async def test_the_map_has_the_mlps_behind_the_heads() -> None:
    app = Holder(AttributionPane())
    async with app.run_test(size=(90, 24)) as pilot:
        given_picture = of_line("attribution map", edits=("zero L9H9 @-1", "scale L2.mlp x2"))
        app.pane.show(given_picture)
        await pilot.pause()
        lines = shown(app.pane)
        assert lines[0].split()[-1] == "mlp"
        (known,) = given_picture.answered
        assert isinstance(known.edited, AttributionAnswer)
        assert isinstance(known.edited.parts, Components)
        foot = next(line for line in lines if line.startswith("embed"))
        assert float(foot.split()[-1]) == pytest.approx(known.edited.total, abs=0.006)
        assert lines[3].split()[0] == "2"
        assert lines[3].split()[-1].startswith("*")
        assert lines[10].split()[10].startswith("*")
        app.pane.move(100, 2)
        await pilot.pause()
        assert app.pane.value() == f"{float(known.edited.parts.mlps[2]):.6g}"
        assert app.pane.sites(given_picture) == (parse_site("L2.mlp"),)
        assert app.looked == []
        app.pane.move(-1, 0)
        await pilot.pause()
        assert (app.looked[-1].layer, app.looked[-1].head) == (2, 11)


def test_s_goes_through_the_ledgers_forms_and_c_through_the_runs() -> None:
    question = Attribution()
    lines = []
    for _ in range(3):
        question = question.next()
        lines.append(question.line())
    assert lines == ["attribution unsorted", "attribution map", "attribution"]
    one = parse_question("attribution L9H9")
    assert one.next().line() == "attribution L9H9 unsorted"
    assert one.next().next() == one
    assert question.next_run().line() == "attribution clean"
    assert parse_question("attribution map clean @3 answer").asked() == Attribution(position=3, answer=True)


@pytest.mark.parametrize(
    ("answer", "foil", "words", "said"),
    [
        (" Mary", "", "", "A explains"),
        ("", " John", "", "no answer"),
        ("", " John", " answer", "no answer"),
        (" Mary", "", " answer", ""),
        ("", "", "", ""),
    ],
)
def test_without_a_target_it_says_what_it_lacks_and_asks_nothing(answer: str, foil: str, words: str, said: str) -> None:
    given_picture = of_line(f"attribution{words}")
    given_picture = replace(given_picture, session=replace(given_picture.session, answer=answer, foil=foil))
    pane = pane_of(given_picture)
    assert bool(pane.questions(given_picture)) == (not said)
    page = pane.draw(given_picture, 60, 20)
    text = " ".join("".join(segment.text for segment in page.row(i, 0)) for i in range(page.rows))
    assert said in text
    assert bool(pane.row()) == (not said)


async def test_the_line_that_opens_is_where_one_comes_back_to() -> None:
    app = Holder(AttributionPane())
    async with app.run_test(size=(80, 24)) as pilot:
        app.pane.show(of_line("attribution clean"))
        await pilot.pause()
        assert app.pane.picture is not None
        app.pane.into(app.pane.picture)
        await pilot.pause()
        assert (app.looked[-1].layer, app.looked[-1].head) == (9, 9)
        app.pane.show(replace(of_line("attribution L9H9"), focus=app.looked[-1]))
        await pilot.pause()
        app.pane.show(replace(of_line("attribution clean"), focus=app.looked[-1]))
        await pilot.pause()
        assert app.pane.row().split()[0] == "L9H9"


async def test_another_start_stands_on_the_line_that_is_no_heads() -> None:
    word, rows = "", []
    for _ in range(2):
        app = Holder(AttributionPane())
        async with app.run_test(size=(120, 30)) as pilot:
            app.pane.put_cursor(word)
            app.pane.show(of_line("attribution"))
            await pilot.pause()
            if not word:
                assert app.pane.search("mlp")
                word = app.pane.cursor()
            rows.append(app.pane.row())
    assert word.endswith(".mlp")
    assert rows[0] == rows[1]
    assert word in rows[0]


def test_without_an_edit_there_is_no_difference() -> None:
    given_picture = of_line("attribution difference", edits=())
    page = pane_of(given_picture).draw(given_picture, 60, 10)
    assert "no edit is on" in "".join(segment.text for segment in page.row(0, 0))


def swept(picture: Picture, effects: np.ndarray) -> Picture:
    """With a sweep that zeroed every head of the session as it is."""
    rows, columns = (tuple(f"{name}{i}" for i in range(n)) for name, n in zip("LH", effects.shape, strict=True))
    found = SweepAnswer(rows, columns, "logit_diff", effects, 1.0)
    kept = found.kept(Sweep(), picture.session, not picture.session.active_edits())
    assert kept is not None
    return replace(picture, sweeps=(kept,))


def test_beside_a_heads_line_stands_what_zeroing_it_changes_and_what_the_others_did() -> None:
    """A head that writes 2.31 and whose loss costs .4 was made up for by 1.91."""
    picture = of_line("attribution", edits=())
    answer = picture.answered[0].clean
    assert isinstance(answer, AttributionAnswer)
    assert isinstance(answer.parts, Components)
    effects = -answer.parts.heads
    effects[9, 9] = -0.4
    pane = AttributionPane()

    def rows(of: Picture, width: int = 100) -> list[str]:
        pane.show(of)
        page = pane.draw(of, width, 200)
        lines = [*page.head(0), *(page.row(i, 0) for i in range(page.rows))]
        return ["".join(segment.text for segment in line) for line in lines]

    lines = rows(swept(picture, effects))
    assert lines[0].split()[-2:] == ["zeroed", "others"]
    [made_up] = [line for line in lines if "L9H9" in line]
    assert made_up.split()[-2:] == ["-.40", "+1.91"]
    assert made_up.startswith("●"), "the two disagree"
    [plain] = [line for line in lines if "L10H7 " in line]
    assert plain.split()[-1] in ("+.00", "-.00", ".00")
    assert not plain.startswith("●")
    [mlp] = [line for line in lines if "L9.mlp" in line]
    assert "█" in mlp or len(mlp.split()) <= 3, "nothing of an MLP was measured"
    # Neither before it was swept, nor of another position, another target or another session.
    assert "zeroed" not in rows(picture)[0]
    assert "zeroed" not in rows(replace(swept(picture, effects), session=replace(picture.session, prompt="Another")))[0]
    elsewhere = replace(answer, position=3)
    (known,) = picture.answered
    assert "zeroed" not in rows(swept(replace(picture, answered=(replace(known, clean=elsewhere),)), effects))[0]


def measured(line: str, clean_of: int = 10**6, edits: tuple[str, ...] = ()) -> Picture:
    """The example with every part ablated: each costs two fifths of what it writes, and the final norm makes up for a
    tenth; only the first so many parts of the clean run are measured yet."""
    picture = of_line(line, edits=edits)
    question = picture.question(Attribution)

    def ablated(answer: AttributionAnswer, count: int) -> AttributionAnswer:
        assert isinstance(answer.parts, Components)
        direct = -np.column_stack([answer.parts.heads, answer.parts.mlps])
        effect = 0.4 * direct
        effect.reshape(-1)[count:] = np.nan
        return replace(answer, ablated=Ablated(question.measured, question.here, direct, effect, effect + direct / 10))

    (known,) = picture.answered
    clean, edited = known.clean, known.edited
    assert isinstance(clean, AttributionAnswer)
    more = replace(
        known,
        question=question.asked(),
        clean=ablated(clean, clean_of),
        edited=ablated(edited, 10**6) if isinstance(edited, AttributionAnswer) else None,
        partial=clean_of < 10**6,
    )
    return replace(picture, answered=(known, more))


def texts(pane: AttributionPane, picture: Picture, width: int = 110, height: int = 200) -> list[str]:
    pane.show(picture)
    page = pane.draw(picture, width, height)
    lines = [*page.head(0), *(page.row(i, 0) for i in range(page.rows)), *page.foot]
    return ["".join(segment.text for segment in line) for line in lines]


def test_the_lines_are_asked_at_once_and_what_is_measured_behind_them() -> None:
    pane = AttributionPane()
    picture = of_line("attribution @3 measured mean here map")
    first, second = pane.questions(picture)
    assert first == Attribution()  # of the selected token
    assert second == Attribution(measured="mean", here=True)
    assert [cost_of(each) for each in (first, second)] == [Cost.ONE_RUN, Cost.JOB]
    # One part that is ablated is one run more.
    (one,) = pane.questions(of_line("attribution L9H9 measured"))
    assert cost_of(one) is Cost.ONE_RUN


def test_beside_each_part_stands_what_ablating_it_changes_what_the_others_did_and_the_norms_share() -> None:
    pane = AttributionPane()
    lines = texts(pane, measured("attribution measured"))
    assert lines[0].split()[-3:] == ["zeroed", "others", "norm"]
    [head] = [line for line in lines if "L9H9 " in line and ":" not in line]
    assert head.split()[-3:] == ["-.92", "+1.39", "+.23"]
    [mlp] = [line for line in lines if "L9.mlp " in line]
    assert len(mlp.split()) >= 5
    assert lines[-1] == ("L9H9 zeroed: measured -.92 = direct -2.31, others +1.39 (final norm +.23), 60% made up")
    assert pane.row().split("\t")[-3:] == ["-.92", "+1.39", "+.23"]
    # By the mean what goes is not the line itself.
    head_line = texts(pane, measured("attribution measured mean"))[0]
    assert head_line.split()[-5:] == ["direct", "at", "mean", "others", "norm"]


def test_what_is_still_to_come_is_blank_and_counted() -> None:
    pane = AttributionPane()
    waiting = of_line("attribution measured", edits=())
    lines = texts(pane, waiting)
    assert lines[0].split()[-3:] == ["zeroed", "others", "norm"]
    assert not any("made up" in line for line in lines)
    assert "zeroed 0 of 156" in pane.draw(waiting, 110, 40).title
    some = measured("attribution measured", clean_of=30)
    texts(pane, some)
    assert "zeroed 30 of 156" in pane.draw(some, 110, 40).title
    every = measured("attribution measured here")
    assert pane.draw(every, 110, 40).title.rstrip().endswith("zeroed here")
    # Numbers of another run do not stand beside these lines.
    (lines_of_now, older) = every.answered
    assert isinstance(older.clean, AttributionAnswer)
    assert isinstance(older.clean.parts, Components)
    parts = replace(older.clean.parts, heads=older.clean.parts.heads + 1)
    mixed = replace(every, answered=(lines_of_now, replace(older, clean=replace(older.clean, parts=parts))))
    assert "zeroed here 0 of 156" in pane.draw(mixed, 110, 40).title


def test_it_is_sorted_by_what_is_measured_and_the_difference_of_the_runs_is_shown() -> None:
    pane = AttributionPane()
    edits = ("zero L9H9",)
    question = parse_question("attribution measured")
    words = []
    for _ in range(5):
        question = question.next()
        words.append(question.line())
    assert words[:2] == ["attribution measured effect", "attribution measured others"]
    assert words[-1] == "attribution measured"
    picture = measured("attribution measured others", edits=edits)
    lines = texts(pane, picture)
    assert "▾others" in lines[0]
    (known, _) = picture.answered
    assert isinstance(known.edited, AttributionAnswer)
    assert isinstance(known.edited.parts, Components)
    table = np.abs(np.column_stack([known.edited.parts.heads, known.edited.parts.mlps]))
    layer, column = divmod(int(table.argmax()), table.shape[1])
    best = f"L{layer}.mlp" if column == 12 else f"L{layer}H{column}"
    assert lines[1].split()[0].strip("●*") == best
    lines = texts(pane, measured("attribution measured difference", edits=edits))
    [head] = [line for line in lines if "L9H9" in line and ":" not in line]
    assert head.split()[-3:] == ["+.92", "-1.39", "-.23"]


def repaired() -> Picture:
    """L9H9 is zeroed, and L10H7 makes up for most of it."""
    picture = of_line("attribution", edits=())
    (known,) = picture.answered
    assert isinstance(known.clean, AttributionAnswer)
    heads = np.zeros((12, 12), np.float32)
    heads[9, 9], heads[10, 7] = -2.0, 1.25
    parts = Repair("zero", False, heads, np.zeros(12, np.float32), 0.0, 0.0, 0.25, -2.0)
    question = parse_question("attribution L9H9 measured")
    answer = replace(known.clean, parts=parts, total=-0.5)
    session = put(picture.session, question)
    return replace(picture, session=session, answered=(replace(known, question=question.asked(), clean=answer),))


def test_a_part_opens_to_who_made_up_for_it() -> None:
    pane = AttributionPane()
    picture = measured("attribution measured")
    pane.show(picture)
    pane.draw(picture, 110, 40)
    pane.on_look = lambda focus: None
    opened = pane.into(picture)
    assert opened is not None
    assert opened.line() == "attribution L9H9 measured"
    picture = repaired()
    lines = texts(pane, picture)
    assert lines[1].split()[:2] == ["●L9H9", "-2.00"]
    assert lines[2].split()[:2] == ["L10H7", "+1.25"]
    assert "final norm" in lines[3]
    assert lines[-2].split() == ["total", "-.50"]
    assert lines[-1] == "L9H9 zeroed: measured -.50 = direct -2.00, others +1.50 (final norm +.25), 75% made up"
    assert "L9H9 zeroed" in pane.draw(picture, 110, 40).title
    pane.move(0, 1)
    leads = pane.into(picture)
    assert isinstance(leads, Attention)
    assert (leads.layer, leads.head) == (10, 7)
    pane.search("L3.mlp")
    leads = pane.into(picture)
    assert leads is not None
    assert leads.line() == "attribution L3.mlp"


def test_r_measures_by_zero_by_the_mean_and_no_more_and_h_here() -> None:
    pane = AttributionPane()

    put_there: list[str] = []

    def press(line: str, key: str) -> str:
        pane.show(of_line(line))
        desk = SimpleNamespace(put=lambda question: put_there.append(question.line()))
        getattr(pane, f"do_{key}")(desk)
        return put_there[-1]

    assert press("attribution", "measure") == "attribution measured"
    assert press("attribution measured here", "measure") == "attribution measured mean here"
    assert press("attribution measured mean here", "measure") == "attribution"
    assert press("attribution", "measure_here") == "attribution measured here"
    assert press("attribution measured mean here", "measure_here") == "attribution measured mean"
