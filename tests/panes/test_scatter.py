"""Cases as points: each has a mark where it belongs, the cursor goes from one to the next, enter opens the case."""

from __future__ import annotations

from dataclasses import replace as changed
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len

from mechtui.paint.palette import of_terminal
from mechtui.paint.scatter import HERE, POINT, scatter
from mechtui.session.document import Session
from mechtui.views import example_of, parse_question, put
from mechtui.views.cases import Cases, CasesAnswer
from mechtui.views.cases.pane import CasesPane
from tests.panes.pictures import Holder, pictured, shown

values = st.floats(-50, 50, width=32)
EXAMPLE = example_of("cases")
assert isinstance(EXAMPLE.clean, CasesAnswer)
assert isinstance(EXAMPLE.edited, CasesAnswer)


@given(st.lists(st.tuples(values, values), min_size=1, max_size=30), st.integers(24, 90), st.integers(5, 24))
def test_every_point_lies_where_its_numbers_say(points: list[tuple[float, float]], width: int, height: int) -> None:
    xs, ys = np.array(points).T
    plot = scatter(xs, ys, ("clean", "effect"), width, height, of_terminal(), 0)
    rows = ["".join(text for text, _ in line) for line in plot.lines]
    assert len(rows) == height
    assert all(cell_len(row) <= width for row in rows)
    assert sorted(point for there in plot.at.values() for point in there) == list(range(len(points)))
    assert plot.cell is not None
    assert rows[plot.cell[0]][plot.cell[1]] == HERE
    place = {point: cell for cell, there in plot.at.items() for point in there}
    for one, (x, y) in enumerate(points):
        for other, (x2, y2) in enumerate(points):
            assert x <= x2 or place[one][1] >= place[other][1]
            assert y <= y2 or place[one][0] <= place[other][0], "what is larger stands higher"
    for (row, column), there in plot.at.items():
        several = str(len(there)) if len(there) < 10 else "+"
        assert rows[row][column] == (HERE if 0 in there else POINT if len(there) == 1 else several)


def test_without_an_end_to_the_room_it_is_no_higher_than_wide() -> None:
    plot = scatter(np.arange(3.0), np.arange(3.0), ("x", "y"), 50, 100_000, of_terminal())
    assert len(plot.lines) == 50


def test_what_has_no_number_has_no_point() -> None:
    none = scatter(np.array([np.nan, 1.0]), np.array([1.0, np.nan]), ("a", "b"), 60, 12, of_terminal())
    assert none.lines == []
    some = scatter(np.array([np.nan, 1.0]), np.array([1.0, 2.0]), ("a", "b"), 60, 12, of_terminal(), 0)
    assert [*some.at.values()] == [[1]]
    assert some.cell is None


class Desk:
    """As much of the app as the pane's own actions use."""

    def __init__(self, session: Session) -> None:
        self.session, self.focus = session, pictured(EXAMPLE).focus

    def change(self, session: Session, what: str = "") -> None:
        self.session = session

    def put(self, question: Any) -> None:
        self.session = put(self.session, question)

    def look(self, focus: Any) -> None:
        self.focus = focus


async def test_the_cursor_goes_from_point_to_point_and_enter_opens_the_case() -> None:
    clean, edited = EXAMPLE.clean, EXAMPLE.edited
    assert isinstance(clean, CasesAnswer)
    assert isinstance(edited, CasesAnswer)
    app = Holder(CasesPane())
    async with app.run_test(size=(100, 30)) as pilot:
        pane = app.pane
        assert isinstance(pane, CasesPane)
        session = put(EXAMPLE.session, parse_question("cases scatter"))
        pane.show(replace(pictured(EXAMPLE), session=session))
        await pilot.pause()
        order = [int(at) for at in np.argsort(clean.logit_diff) if np.isfinite(edited.effect[at])]
        pane.home()
        largest = max(order, key=lambda at: edited.effect[at])
        assert f"{largest + 1} When" in "\n".join(shown(pane)), "home is the highest point"
        pane.move(-(10**6), 0)
        for at in order[:4]:
            assert any(line.startswith(f"{at + 1} When") for line in shown(pane))
            pane.move(1, 0)
        lines = shown(pane)
        row, line = next((row, line) for row, line in enumerate(lines) if POINT in line)
        await pilot.click(pane, offset=(line.index(POINT) + 1, row + 1))
        here = next(line for line in shown(pane) if " When" in line and "−" in line)
        number = int(here.split()[0])
        desk: Any = Desk(session)
        pane.do_open_case(desk)
        case = clean.cases[number - 1]
        assert (desk.session.prompt, desk.session.answer) == (case.prompt, case.answer)
        assert desk.session.cases == session.cases
        pane.do_as_scatter(desk)
        assert parse_question(Cases().line()) == Cases()
        assert desk.session.views == EXAMPLE.session.views


async def test_without_an_edit_the_points_are_clean_differences_in_the_order_of_the_cases() -> None:
    clean = EXAMPLE.clean
    assert isinstance(clean, CasesAnswer)
    app = Holder(CasesPane())
    async with app.run_test(size=(100, 30)) as pilot:
        session = put(replace(EXAMPLE.session, edits=()), parse_question("cases scatter"))
        picture = pictured(changed(EXAMPLE, edited=None))
        app.pane.show(replace(picture, session=session))
        await pilot.pause()
        app.pane.move(-(10**6), 0)
        assert any(line.startswith("1 When") for line in shown(app.pane))
        app.pane.move(3, 0)
        assert any(line.startswith("4 When") for line in shown(app.pane))
