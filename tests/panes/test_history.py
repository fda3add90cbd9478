"""The tree of states: what stands in a row, how branches stand, and where the cursor goes."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from mechtui.session.history import LogitDiff, Tree
from mechtui.views import parse_question, put
from mechtui.views.history import History
from mechtui.views.history.example import example
from mechtui.views.history.pane import HistoryPane
from tests.panes.pictures import Holder, pictured, shown, states


def texts(pane: HistoryPane) -> list[str]:
    return [text.strip() for text in shown(pane) if text.strip()]


async def test_a_row_says_what_was_changed_and_what_the_model_said() -> None:
    app = Holder(HistoryPane())
    async with app.run_test(size=(110, 14)) as pilot:
        app.pane.show(pictured(example()))
        await pilot.pause()
        rows = texts(app.pane)[1:]
        assert len(rows) == 6
        assert rows[0].startswith('○ prompt "When Mary')
        assert "+3.12" in rows[0]
        # The branch that was left stands before the way that goes on.
        assert rows[1].startswith("├ ○ added zero L9H9 @-1")
        assert "no name mover" in rows[1]
        assert "+3.12   +0.44" in rows[1] or "+3.12    +.44" in rows[1]
        assert rows[2].startswith("│ ○ added scale L10H7 x0")
        assert rows[3].startswith("○ added mean L9H6")
        assert rows[4].startswith("├ ○ off mean L9H6")
        assert rows[5].startswith("● prompt +")


async def test_the_cursor_walks_and_search_finds() -> None:
    app = Holder(HistoryPane())
    async with app.run_test(size=(110, 14)) as pilot:
        picture = pictured(example())
        app.pane.show(picture)
        await pilot.pause()
        assert app.pane.row().startswith("● prompt +")
        app.pane.move(0, -1)
        assert "off mean L9H6" in app.pane.row()
        app.pane.home()
        assert app.pane.value() == "3.12"
        assert app.pane.search("L10H7")
        assert "added scale L10H7 x0" in app.pane.row()
        assert not app.pane.search("L11H11")
        # A new state draws the cursor to itself.
        assert picture.tree is not None
        app.pane.show(replace(picture, tree=picture.tree.standing(0)))
        assert app.pane.row().startswith('● prompt "When Mary')


async def test_marks_and_words_narrow_it() -> None:
    app = Holder(HistoryPane())
    async with app.run_test(size=(110, 14)) as pilot:
        picture = pictured(example())
        app.pane.show(replace(picture, session=put(picture.session, History(only="mean"))))
        await pilot.pause()
        assert len(texts(app.pane)) == 1 + 2
        app.pane.show(replace(picture, session=put(picture.session, History(marks=True))))
        rows = texts(app.pane)[1:]
        assert len(rows) == 6  # here each is marked, an end, or where branches part
        app.pane.show(replace(picture, session=put(picture.session, History(only="nothing like it"))))
        assert "no row has" in "".join(shown(app.pane))


async def test_many_branches_one_in_the_other_leave_room_for_words() -> None:
    app = Holder(HistoryPane())
    async with app.run_test(size=(60, 40)) as pilot:
        picture = pictured(example())
        tree = states(picture.session)
        assert isinstance(tree, Tree)
        for number in range(40, 60):
            step = replace(tree.step, number=number, parent=tree.at)
            other = replace(step, number=number + 100)
            tree = tree.added(step)
            tree = tree.put(other).standing(number)
        app.pane.show(replace(picture, tree=tree.standing(0)))
        await pilot.pause()
        assert all("as before" in text for text in shown(app.pane)[8:-1] if text.strip())


def test_numbers_of_another_token_say_so() -> None:
    tree = states(example().session)
    assert tree.step.logit_diff == LogitDiff(2.5, 1.0, 3)


@pytest.mark.parametrize("line", ["history", "history @3 marks", 'history "L9H9"', 'history marks "a \\"b"'])
def test_the_line_says_it(line: str) -> None:
    assert parse_question(line).line() == line


async def test_in_a_narrow_pane_the_numbers_go_before_the_time() -> None:
    app = Holder(HistoryPane())
    async with app.run_test(size=(52, 14)) as pilot:
        app.pane.show(pictured(example()))
        await pilot.pause()
        assert {"clean", "edited"} <= set(texts(app.pane)[0].split())
