"""Histograms and the recovery on the screen, and the line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mechtui.session.document import Sae, Session
from mechtui.session.grammar.words import LineError
from mechtui.views import cost_of, parse_question, put
from mechtui.views.directions import OFS, SHOWS, Directions, DirectionsAnswer
from mechtui.views.directions.example import example
from mechtui.views.directions.pane import DirectionsPane
from mechtui.views.spec import Cost
from tests.panes.pictures import Holder, pictured, resized, shown


class Desk:
    """What the pane's actions use of the app."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def put(self, question: Any) -> None:
        self.session = put(self.session, question)


async def test_cosines_recovery_and_what_they_say() -> None:
    answer = example().clean
    assert isinstance(answer, DirectionsAnswer)
    app = Holder(DirectionsPane())
    async with app.run_test(size=(100, 42)) as pilot:
        pane, picture = app.pane, pictured(example())
        assert isinstance(pane, DirectionsPane)
        pane.show(picture)
        await pilot.pause()
        text = "\n".join(shown(pane))
        assert "2,000 in 768 dimensions ─ largest -.18 random, .39 unembed" in str(pane.border_title)
        assert "largest -.180 (1/√k .036;" in text
        assert "one pair beyond .199" in text
        assert "·Mary  ·Maria" in text
        assert "the rule: 28" in text
        at = int(np.searchsorted(answer.numbers, answer.rule))
        assert pane.value() == f"{float(answer.error[at]):.6g}"
        pane.move(-3, 0)
        assert pane.row().split("\t")[0] == str(answer.numbers[at - 3])
        assert text.index("share of pairs") < text.index("median error")
        pane.show(replace(picture, session=put(picture.session, Directions(shows="recovery"))))
        await pilot.pause()
        text = "\n".join(shown(pane))
        assert text.index("median error") < text.index("share of pairs")
        # What has no room is left out: the first of both stays.
        await resized(pilot, 60, 12)
        text = "\n".join(shown(pane))
        assert "median error" in text
        assert "share of pairs" not in text
        desk: Any = Desk(picture.session)
        pane.do_other_directions(desk)
        assert desk.session.views == ("directions embed recovery",)
        pane.do_other_draws(desk)
        assert desk.session.views == ("directions seed1 recovery",)
        # Dictionaries of the session come last, and are asked for again when they are others.
        desk.session = replace(desk.session, saes=(Sae("res8", "a"),))
        pane.show(replace(picture, session=put(desk.session, Directions(of="neurons"))))
        pane.do_other_directions(desk)
        assert desk.session.views == ("directions res8",)
        asked = []
        for path in ("a", "b"):
            named = replace(desk.session, saes=(Sae("res8", path),))
            asked += pane.questions(replace(picture, session=named))
        assert [question.line() for question in asked] == ["directions res8"] * 2  # type: ignore[attr-defined]
        assert asked[0] != asked[1]
        assert parse_question("directions res8").for_model() == Directions()
        # On the way.
        half = replace(answer, error=np.where(np.arange(len(answer.error)) < 4, answer.error, np.float32(np.nan)))
        answered = replace(picture.answered[0], clean=half)
        session = put(picture.session, Directions(shows="recovery"))
        pane.show(replace(picture, session=session, answered=(answered,)))
        await pilot.pause()
        assert f"4 of {len(answer.numbers)} counts" in "\n".join(shown(pane))


@given(
    st.integers(2, 3000),
    st.sampled_from([0, 2, 64, 16_384]),
    st.sampled_from((*OFS, "res8")),
    st.integers(1, 20),
    st.integers(20, 400),
    st.integers(0, 10**15 - 1),
    st.sampled_from(SHOWS),
)
def test_the_line_says_it(count: int, dims: int, of: Any, active: int, features: int, seed: int, shows: Any) -> None:
    question = Directions(count, dims, of, active, features, seed, shows)
    assert parse_question(question.line()) == question
    assert question.asked() == replace(question, shows="cosines")
    assert cost_of(question) is Cost.JOB
    assert not question.costly
    assert question.numbers[0] == 1
    assert question.numbers[-1] <= features


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("directions 2>x", "2>x should be 2000>64, unembed, embed, neurons"),
        ("directions 1", "1 should be 2 to 3,000 directions"),
        ("directions 4000>3", "should be 2 to 3,000 directions"),
        ("directions 20>1", "1 should be 2 to 16,384 dimensions"),
        ("directions sparse0/20", "should be sparse, how many"),
        ("directions sparse21/200", "should be sparse, how many"),
        ("directions sparse3/500", "should be sparse, how many"),
    ],
)
def test_what_the_line_does_not_take_is_said(line: str, sentence: str) -> None:
    with pytest.raises(LineError, match=sentence):
        parse_question(line)
