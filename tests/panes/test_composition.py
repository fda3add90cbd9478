"""The list and the map of pairs of heads: what stands on top, and where the cursor leads."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from mechtui.panes.picture import Picture
from mechtui.session.grammar.places import format_site
from mechtui.session.grammar.words import LineError
from mechtui.views import parse_question, put
from mechtui.views.composition import KINDS, Composition
from mechtui.views.composition.example import example
from mechtui.views.composition.pane import CompositionPane
from mechtui.views.path import Path
from tests.panes.pictures import Holder, pictured, shown


def picture(question: Composition | None = None, layer: int = 0, head: int = 0) -> Picture:
    found = pictured(example())
    focus = replace(found.focus, layer=layer, head=head)
    return replace(found, focus=focus, session=put(found.session, question or Composition()))


async def test_the_strongest_pairs_come_first() -> None:
    app = Holder(CompositionPane())
    async with app.run_test(size=(80, 14)) as pilot:
        app.pane.show(picture())
        await pilot.pause()
        rows = shown(app.pane)
        assert rows[1].split()[:4] == ["L4H11", ">", "L5H5", "+.140"]
        # .14 over a spread of .0005, and on this prompt 3.25 nats.
        assert [each for each in rows[1].split() if each[0] in "+-"] == ["+.140", "+3.25", "+280"]
        assert rows[2].split()[:4] == ["L4H11", ">", "L6H9", "+.120"]
        assert rows[3].split()[:4] == ["L2H2", ">", "L7H10", "+.080"]
        app.pane.move(0, 2)
        await pilot.pause()
        assert (app.looked[-1].layer, app.looked[-1].head) == (7, 10)
        assert [format_site(site) for site in app.pane.sites(app.pane.picture)] == ["L7H10"]
        assert app.pane.value() == "0.08"


async def test_what_the_pairs_do_on_this_prompt() -> None:
    app = Holder(CompositionPane())
    async with app.run_test(size=(80, 14)) as pilot:
        app.pane.show(picture(Composition(here=True, run="clean")))
        await pilot.pause()
        rows = shown(app.pane)
        assert [row.split()[:4] for row in rows[1:4]] == [
            ["L4H11", ">", "L5H5", "+3.25"],
            ["L4H11", ">", "L6H9", "+2.50"],
            ["L9H9", ">", "L10H7", "-1.75"],
        ]
        key = example().clean.keys[5 * 12 + 5]
        assert rows[1].rstrip().endswith(f"{key} {app.pane.picture.token(key)}")
        assert "nats of the later head's attention score from 13 ·to to its key" in "\n".join(rows)
        # In the edited run it is cut; the weights stay.
        app.pane.show(picture(Composition(here=True, only="L9H9>")))
        await pilot.pause()
        assert ["L9H9", ">", "L10H7"] not in [row.split()[:3] for row in shown(app.pane)[1:4]]
        app.pane.show(picture(Composition(here=True, run="difference")))
        await pilot.pause()
        assert shown(app.pane)[1].split()[:4] == ["L9H9", ">", "L10H7", "+1.75"]
        app.pane.show(picture(Composition(here=True, as_map=True, run="clean"), 5, 5))
        app.pane._earlier = 4 * 12 + 11
        await pilot.pause()
        assert app.pane.value() == "3.25"


async def test_a_prompt_that_cannot_be_read_so_leaves_the_weights() -> None:
    app = Holder(CompositionPane())
    async with app.run_test(size=(80, 14)) as pilot:
        now = picture(Composition(here=True))
        [answered] = [each for each in now.answered if each.question == Composition()]
        clean = replace(answered.clean, refused="the heads write together", keys=())
        app.pane.show(replace(now, answered=(replace(answered, clean=clean, edited=clean),)))
        await pilot.pause()
        rows = shown(app.pane)
        assert rows[1].split()[:4] == ["L4H11", ">", "L5H5", "+.140"]
        assert "nothing of this prompt: the heads write together" in "\n".join(rows)


async def test_narrowed_to_a_head_and_not_to_those_whose_names_begin_like_it() -> None:
    app = Holder(CompositionPane())
    async with app.run_test(size=(80, 30)) as pilot:
        app.pane.show(picture(Composition(only="L2H2")))
        await pilot.pause()
        rows = [row.split() for row in shown(app.pane)[1:] if ">" in row]
        assert rows[0][:3] == ["L2H2", ">", "L7H10"]
        assert all("L2H2" in (row[0], row[2]) for row in rows)
        app.pane.show(picture(Composition(only="L99H9")))
        await pilot.pause()
        assert "no row has 'L99H9' in it" in "\n".join(shown(app.pane))


async def test_enter_shows_the_pair_as_a_path_and_the_map_keeps_the_pair() -> None:
    app = Holder(CompositionPane())
    async with app.run_test(size=(110, 40)) as pilot:
        app.pane.show(picture())
        await pilot.pause()
        app.pane.move(0, 1)
        await pilot.pause()
        into = app.pane.into(app.pane.picture)
        assert isinstance(into, Path)
        assert into.line() == "path L4H11>L6H9.k"
        now = app.pane.picture
        app.pane.show(replace(now, session=put(now.session, Composition(as_map=True))))
        await pilot.pause()
        assert app.pane.value() == "0.12"
        app.pane.move(-1, 0)
        await pilot.pause()
        values = example().clean.values
        assert float(app.pane.value()) == pytest.approx(float(values[6 * 12 + 9, 4 * 12 + 10]), rel=1e-5)


def test_a_click_looks_at_the_later_head_of_its_row() -> None:
    pane, now = CompositionPane(), picture()
    pane.picture = now
    focus = pane.hit(now, 1, 3, 0)
    assert focus is not None
    assert (focus.layer, focus.head) == (6, 9)


def test_a_pair_without_a_number_is_never_listed() -> None:
    pane, now = CompositionPane(), picture()
    shown = pane._shown(now)
    assert shown is not None
    listed = pane._listed(now, shown)
    assert not np.isnan(listed.rows.columns[1].values).any()
    assert all(earlier // 12 < later // 12 for later, earlier in listed.pairs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("as_map", [False, True])
@pytest.mark.parametrize("only", ["", "L5H1", 'a "b'])
def test_the_line_says_it(kind: str, as_map: bool, only: str) -> None:
    question = Composition(kind, as_map, only)  # type: ignore[arg-type]
    assert parse_question(question.line()) == question
    assert question.asked() == Composition(kind)  # type: ignore[arg-type]


@pytest.mark.parametrize("place", ["", "@3", "-1>-4", "14>2"])
@pytest.mark.parametrize("shown", ["", "here", "here map difference", 'clean "L5H1"'])
def test_the_line_says_where_it_looks(place: str, shown: str) -> None:
    line = " ".join(f"composition V {place} {shown}".split())
    question = parse_question(line)
    assert question.line() == line
    assert question.asked().line() == f"composition V {place}".strip()


def test_what_the_line_does_not_take_is_said() -> None:
    with pytest.raises(LineError, match="k should be Q, K, V, @13, 13>5, here, map, clean, difference or a head"):
        parse_question("composition k")
