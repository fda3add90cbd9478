"""Surprise per token against the logits of a plain model, clean and edited."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mechtui.engine.api import Engine
from mechtui.session.grammar.edits import parse_edit
from mechtui.views import parse_question
from mechtui.views.loss import LossAnswer
from tests.engine import reference
from tests.engine.test_linear import Subject, subject  # noqa: F401 - a fixture
from tests.engine.twin import CLOSE, session_of

EDITS = ("scale L0H1 x3", "zero L1H0 @2")


def test_every_token_is_what_the_plain_model_says_and_an_edit_leaves_nothing(subject: Subject) -> None:  # noqa: F811
    engine = Engine(subject.model)
    opened = engine.open(session_of(*EDITS))
    *_, (clean, edited, _) = opened.answer(parse_question("loss top3"))
    ids = list(opened.ids)
    came = np.arange(len(ids) - 1), ids[1:]
    for answer, lines in ((clean, ()), (edited, EDITS)):
        assert isinstance(answer, LossAnswer)
        edits = [parse_edit(line) for line in lines]
        said = reference.logits(subject.network, opened.ids, edits).double()[:-1]
        log_p = torch.log_softmax(said, -1).numpy()
        wanted = -log_p[came]
        np.testing.assert_allclose(answer.loss[1:], wanted, atol=CLOSE)
        assert np.isnan(answer.loss[0])
        assert answer.sum == pytest.approx(wanted.sum(), abs=len(ids) * CLOSE)
        assert answer.mean == pytest.approx(wanted.mean(), abs=CLOSE)
        ranks = (log_p > log_p[came][:, None]).sum(-1)
        assert np.abs(answer.rank[1:] - ranks).max() <= 1  # two tokens may be as likely as one another
        np.testing.assert_allclose(answer.probs[1:], np.exp(np.sort(log_p)[:, ::-1][:, :3]), atol=CLOSE)
        for row, tokens in zip(log_p, answer.best[1:], strict=True):
            np.testing.assert_allclose(
                np.exp([row[token.id] for token in tokens]), np.exp(np.sort(row)[::-1][:3]), atol=CLOSE
            )
    assert isinstance(clean, LossAnswer)
    assert isinstance(edited, LossAnswer)
    assert np.abs(edited.loss[1:] - clean.loss[1:]).max() > 10 * CLOSE
    *_, (again, none, _) = engine.open(session_of(*(f"# {edit}" for edit in EDITS))).answer(parse_question("loss top3"))
    assert none is None
    assert isinstance(again, LossAnswer)
    np.testing.assert_array_equal(again.loss, clean.loss)
