"""A text's loss, window by window, against transformers' own loss on the same windows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from mechtui.engine.api import Cancelled, Engine, OpenSession, SessionError
from mechtui.engine.model import Model
from mechtui.engine.run import Run
from mechtui.engine.runner import Runner
from mechtui.session.grammar.words import quote
from mechtui.views import parse_question
from mechtui.views.perplexity import Perplexity, PerplexityAnswer
from mechtui.views.perplexity.compute import _plan
from tests.engine.reference import run
from tests.engine.twin import CLOSE, SOURCE, Twin, make_twin, session_of

NOTES = Path(__file__).with_name("notes.txt")
EDIT = "scale L1.mlp x-2"


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def twin(request: pytest.FixtureRequest) -> Twin:
    return make_twin(request)


def windows(ids: list[int], front: list[int], window: int, stride: int) -> list[tuple[list[int], list[int]]]:
    """What is read of each window, and the labels of its tokens: -100 for those that do not count."""
    body = window - len(front)
    # A token counts in the first window that has it.
    owner = [next(k for k in range(len(ids)) if at < k * stride + body) for at in range(len(ids))]
    found = []
    for k in range(max(owner) + 1):
        part = range(k * stride, min(k * stride + body, len(ids)))
        labels = [ids[at] if owner[at] == k and (front or at) else -100 for at in part]
        found.append(([*front, *(ids[at] for at in part)], [-100] * len(front) + labels))
    return found


@pytest.mark.parametrize("bos", ["yes", "no"])
@pytest.mark.parametrize(("window", "stride"), [(24, 9), (24, 23), (60, 1)])
def test_windows_as_transformers_reads_them(twin: Twin, bos: str, window: int, stride: int) -> None:
    elsewhere = ("zero L0H1 @-1", "patch L1.pre", "patch-path L0H0>L1H1.q")
    session = session_of(EDIT, *elsewhere, source=SOURCE, bos=bos)
    front = twin.tokens(session).bos
    assert len(front) == (bos == "yes")
    ids = twin.text_ids(NOTES.read_text("utf-8"), ())
    both = twin.answers(session, f"perplexity {quote(str(NOTES))} window{window} stride{stride}")[0]
    expected = windows(ids, front, window, stride)
    for answer, edits in zip(both, ((), session.edits[:1]), strict=True):
        assert isinstance(answer, PerplexityAnswer)
        assert [each.partition(": ")[0] for each in answer.left_out] == list(elsewhere)
        losses, counts = [], []
        for read, labels in expected:
            if edits:
                logits = run(twin.plain, read, edits)[0]
            else:
                with torch.no_grad():
                    said = twin.plain(torch.tensor([read]), labels=torch.tensor([labels]))
                    logits = said.logits[0]
                    assert float(said.loss) == pytest.approx(float(answer.loss[len(losses)]), abs=CLOSE)
            wanted = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(labels[1:]))
            losses.append(float(wanted))
            counts.append(sum(label >= 0 for label in labels))
        np.testing.assert_allclose(answer.loss, losses, atol=CLOSE)
        assert answer.counts.tolist() == counts
        assert answer.counted == answer.tokens == len(ids) - (not front)
        assert answer.mean == pytest.approx(np.average(losses, weights=counts), abs=CLOSE)
        assert answer.perplexity == pytest.approx(np.exp(answer.mean))
        assert "".join(answer.texts)[:9] == NOTES.read_text("utf-8")[not front :][:9]


def test_what_was_read_is_kept_and_the_prompt_s_runs_stay(gpt2_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(gpt2_model)
    question = parse_question(f"perplexity {quote(str(NOTES))} window24 stride12")
    wanted, lengths = True, []
    was = Runner.run

    def counted(self: Runner, ids: Any, *rest: Any, **more: Any) -> Any:
        lengths.append(len(ids))
        return was(self, ids, *rest, **more)

    opened = engine.open(session_of(EDIT, bos="no"), lambda: not wanted)
    assert opened.edited is not None  # the prompt's runs are there
    held = engine.trace_bytes
    monkeypatch.setattr(Runner, "run", counted)
    shares: list[float] = []
    opened.progress = shares.append
    for number, (clean, edited, more) in enumerate(opened.answer(question)):
        assert more
        assert isinstance(clean, PerplexityAnswer)
        assert isinstance(edited, PerplexityAnswer)
        assert len(clean.loss) == len(edited.loss) == number + 1
        if number == 2:
            wanted = False
            with pytest.raises(Cancelled):
                list(opened.answer(question))
            break
    assert shares == sorted(shares)
    assert 0 < shares[-1] < 1
    first, wanted = clean.loss, True
    lengths.clear()
    *_, (clean, edited, more) = opened.answer(question)
    assert not more
    assert isinstance(clean, PerplexityAnswer)
    assert len(clean.loss) == clean.windows
    np.testing.assert_array_equal(clean.loss[:3], first)
    read = sum(length != len(opened.ids) for length in lengths)
    assert read == 2 * (clean.windows - 3)  # none of the three once more
    lengths.clear()
    # Another state of the edits: the clean text is known.
    ((clean, edited, more),) = engine.open(session_of(f"# {EDIT}", bos="no")).answer(question)
    assert (edited, more) == (None, False)
    assert all(length == len(opened.ids) for length in lengths)
    assert engine.trace_bytes == held


def test_edits_that_do_the_same_in_another_order_read_nothing_again(
    gpt2_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(gpt2_model)
    question = parse_question(f"perplexity {quote(str(NOTES))} window24 stride12")
    lines = ("zero L0H1", EDIT)
    *_, (_, first, _) = engine.open(session_of(*lines, bos="no")).answer(question)
    monkeypatch.setattr(OpenSession, "run_once", lambda *_: pytest.fail("it was read again"))
    ((_, again, more),) = engine.open(session_of(*lines[::-1], bos="no")).answer(question)
    assert not more
    assert isinstance(first, PerplexityAnswer)
    assert isinstance(again, PerplexityAnswer)
    np.testing.assert_array_equal(again.loss, first.loss)


def test_a_window_whose_logits_are_not_finite_is_read_once(gpt2_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where half precision overflows."""
    engine = Engine(gpt2_model)
    question = parse_question(f"perplexity {quote(str(NOTES))} window24 stride12")
    was = Run.logits
    assert isinstance(question, Perplexity)
    opened = engine.open(session_of(bos="no"))
    texts = [window.ids for window in _plan(question, opened).windows]
    monkeypatch.setattr(Run, "logits", lambda self, at: was(self, at) * (torch.nan if self.ids == texts[2] else 1.0))
    *_, (clean, _, _) = opened.answer(question)
    assert isinstance(clean, PerplexityAnswer)
    assert np.flatnonzero(np.isnan(clean.loss)).tolist() == [2]
    assert np.isnan([clean.mean, clean.perplexity]).all()
    monkeypatch.setattr(Run, "logits", lambda *_: pytest.fail("it was read again"))
    ((again, _, more),) = opened.answer(question)
    assert not more
    assert isinstance(again, PerplexityAnswer)
    np.testing.assert_array_equal(again.loss, clean.loss)


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        (None, "perplexity {}", "there is no file"),
        (None, "perplexity window24", "which text"),
        (1 << 40, "perplexity {}", "is larger than the 64 MiB of text that are read"),
        (b"a\xff", "perplexity {}", "is no text: byte 1 is not UTF-8"),
        (b"a", "perplexity {}", "has 1 tokens, none of which has one before it"),
        (b"", "perplexity {}", "has 0 tokens"),
        (b"\xef\xbb\xbf", "perplexity {}", "has 0 tokens"),
        (b"some words", "perplexity {} window99999", "window99999 is too long"),
        (b"some words", "perplexity {} window8 stride8", "stride8 is too long for windows of 8: 7 is the longest"),
    ],
)
def test_what_cannot_be_read_is_said(
    text: bytes | int | None, line: str, sentence: str, tmp_path: Path, gpt2_model: Model
) -> None:
    file = tmp_path / "a.txt"
    if isinstance(text, int):
        file.touch()
        os.truncate(file, text)
    elif text is not None:
        file.write_bytes(text)
    opened = Engine(gpt2_model).open(session_of(bos="no"))
    with pytest.raises(SessionError, match=sentence):
        list(opened.answer(parse_question(line.format(quote(str(file))))))


def test_a_model_that_reads_one_token_is_told_so(gpt2_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Engine(gpt2_model).open(session_of(bos="no"))
    monkeypatch.setattr(type(opened), "shape", replace(gpt2_model.shape, n_ctx=1))
    with pytest.raises(SessionError, match="reads one token at a time"):
        list(opened.answer(parse_question(f"perplexity {quote(str(NOTES))}")))
