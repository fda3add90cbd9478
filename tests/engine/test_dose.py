"""Doses against a plain model, edit by edit, and its own greedy continuations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mechtui.engine.api import Cancelled, Engine, SessionError
from mechtui.session.grammar.edits import parse_edit
from mechtui.views import parse_question
from mechtui.views.dose import DoseAnswer
from tests.engine import reference
from tests.engine.test_linear import Subject, subject  # noqa: F401 - a fixture
from tests.engine.twin import session_of

VECTORS = ['v = diff L1.pre " Mary" " John"']


def asked(subject: Subject, line: str, *edits: str, **more: object) -> tuple[DoseAnswer, DoseAnswer | None]:  # noqa: F811
    session = session_of(*edits, vectors=VECTORS, answer=" Mary", foil=" John", **more)
    *_, (clean, edited, more_to_come) = Engine(subject.model).open(session).answer(parse_question(line))
    assert not more_to_come
    assert isinstance(clean, DoseAnswer)
    assert edited is None or isinstance(edited, DoseAnswer)
    return clean, edited


def last(subject: Subject, ids: tuple[int, ...], vector: torch.Tensor, *lines: str) -> torch.Tensor:  # noqa: F811
    """The plain model's log probabilities and logits after these tokens, with these edits."""
    edits = [parse_edit(line) for line in lines]
    return reference.logits(subject.network, ids, edits, vectors={"v": vector})[-1]


def test_points_texts_and_their_losses_are_the_plain_models(subject: Subject) -> None:  # noqa: F811
    line = "dose add L1.pre v -6..6 step3 layers text-6 tokens5"
    clean, edited = asked(subject, line, "scale L0H1 x2", "add L1.pre v x1")
    opened = Engine(subject.model).open(session_of(vectors=VECTORS, answer=" Mary", foil=" John"))
    answer, foil = opened.targets
    assert answer is not None
    assert foil is not None
    texts = [opened.model.encode(text, "yes" if opened.bos else "no") for text in (" Mary", " John")]
    sides = [reference.run(subject.network, ids)[1] for ids in texts]
    plain = last(subject, opened.ids, torch.zeros(1))
    before = plain.log_softmax(-1)
    assert clean.baseline == pytest.approx(float(plain[answer] - plain[foil]), abs=1e-3)
    assert clean.numbers == (-6.0, -3.0, 0.0, 3.0, 6.0)
    assert clean.layers == tuple(range(subject.model.shape.n_layers))
    assert edited is not None
    moved = 0.0
    for row, layer in enumerate(clean.layers):
        vector = sides[0]["pre", layer][-1] - sides[1]["pre", layer][-1]
        norms = reference.run(subject.network, opened.ids)[1]["pre", layer].norm(dim=-1)
        for column, number in enumerate(clean.numbers):
            dose = f"add L{layer}.pre v x{number:g}"
            for found, beside in ((clean, ()), (edited, ("scale L0H1 x2",))):
                said = last(subject, opened.ids, vector, *beside, dose)
                kl = (before.exp() * (before - said.log_softmax(-1))).sum()
                assert found.logit_diff[row, column] == pytest.approx(float(said[answer] - said[foil]), abs=2e-3)
                assert found.kl[row, column] == pytest.approx(float(kl), abs=2e-3)
                moved = max(moved, float(kl))
            expected = abs(number) * float(vector.norm()) / float(norms.quantile(0.5))
            assert clean.share[row, column] == pytest.approx(expected, rel=1e-3, abs=1e-6)
        ids = opened.ids
        for token in clean.tokens[row][0]:
            assert token.id == int(last(subject, ids, vector, f"add L{layer}.pre v x-6").argmax())
            ids = (*ids, token.id)
        if len(ids) > len(opened.ids):
            all_said = reference.logits(subject.network, ids).log_softmax(-1)
            losses = [-float(all_said[at - 1, ids[at]]) for at in range(len(opened.ids), len(ids))]
            assert clean.loss[row, 0] == pytest.approx(np.mean(losses), abs=2e-3)
        assert not any(clean.tokens[row][1:])
    assert moved > 0.1


def test_an_edit_of_the_session_is_dosed_in_its_place_and_leaves_nothing(subject: Subject) -> None:  # noqa: F811
    clean, edited = asked(subject, "dose", "scale L1H1 @-1 x3")
    assert edited is None  # there is no other edit
    assert (clean.edit, clean.numbers[0], clean.numbers[-1]) == ("scale L1H1 @-1", 0.0, 2.0)
    at_one = clean.numbers.index(1.0)
    assert clean.logit_diff[0, at_one] == pytest.approx(clean.baseline, abs=1e-4)
    assert clean.kl[0, at_one] == pytest.approx(0, abs=1e-5)
    engine = Engine(subject.model)
    session = session_of("scale L1H1 @-1 x3", vectors=VECTORS)
    before = engine.open(session).edited
    assert before is not None
    logits = before.logits().clone()
    list(engine.open(session).answer(parse_question("dose 0..4 step1 text tokens3")))
    after = Engine(subject.model).open(session).edited
    again = engine.open(session).edited
    assert after is not None
    assert again is not None
    assert torch.allclose(again.logits(), logits, atol=1e-5)
    assert torch.allclose(after.logits(), logits, atol=1e-5)


def test_the_dosed_edit_stands_in_its_own_place_on_or_off_and_one_like_it_stays(subject: Subject) -> None:  # noqa: F811
    opened = Engine(subject.model).open(session_of(vectors=VECTORS, answer=" Mary", foil=" John"))
    answer, foil = opened.targets
    texts = [opened.model.encode(text, "yes" if opened.bos else "no") for text in (" Mary", " John")]
    sides = [reference.run(subject.network, ids)[1]["pre", 1][-1] for ids in texts]
    for edits in (("# scale L1.pre x7", "add L1.pre v x2"), ("scale L1.pre x7", "scale L1.pre x3")):
        _, edited = asked(subject, "dose scale L1.pre 2..4 step2", *edits)
        assert edited is not None
        said = last(subject, opened.ids, sides[0] - sides[1], "scale L1.pre x2", edits[1])
        assert edited.logit_diff[0, 0] == pytest.approx(float(said[answer] - said[foil]), abs=2e-3)


def test_what_it_goes_on_to_write_takes_no_place_of_the_prompts_runs(subject: Subject) -> None:  # noqa: F811
    engine = Engine(subject.model)
    opened = engine.open(session_of("scale L0H1 x2", vectors=VECTORS))
    assert opened.edited is not None
    kept = list(engine.runner.store)
    *_, (clean, _, _) = opened.answer(parse_question("dose add L1.pre v -4..4 step4 text tokens3"))
    assert isinstance(clean, DoseAnswer)
    assert any(map(bool, clean.tokens[0]))
    assert set(map(id, engine.runner.store)) == set(map(id, kept))


def test_a_dose_that_is_stopped_keeps_what_it_has(subject: Subject) -> None:  # noqa: F811
    engine, question = Engine(subject.model), parse_question("dose scale L1H1 0..4 step1 text tokens4")
    session = session_of(vectors=VECTORS)
    halted: list[bool] = []
    opened = engine.open(session, lambda: bool(halted))

    def until_stopped() -> None:
        for clean, _, _ in opened.answer(question):
            assert isinstance(clean, DoseAnswer)
            if sum(map(bool, clean.tokens[0])) == 2:
                halted.append(True)

    with pytest.raises(Cancelled):
        until_stopped()
    first, _, more = next(engine.open(session).answer(question))
    assert isinstance(first, DoseAnswer)
    assert more
    assert (first.runs, first.done) == (10, 7)


def test_in_linear_mode_a_dose_is_a_straight_line(subject: Subject) -> None:  # noqa: F811
    clean, _ = asked(subject, "dose add L1.pre v -8..8 step2", linear=True)
    steps = np.diff(clean.logit_diff[0])
    assert np.abs(steps - steps.mean()).max() < 1e-3
    assert abs(steps.mean()) > 1e-2


def test_what_cannot_be_dosed_is_refused_in_a_sentence(subject: Subject) -> None:  # noqa: F811
    for edits, line, said in (
        (("zero L0H1",), "dose", "a dose is that of an edit"),
        ((), "dose add L1.pre w", "there is no steering vector w"),
        ((), "dose scale L1H1 text7", "7 is none of 0, 0.25"),
        ((), "dose scale L9H1", "has no L9H1"),
    ):
        with pytest.raises(SessionError, match=said):
            asked(subject, line, *edits)
