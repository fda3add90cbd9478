"""Vectors of many texts in files, beside numpy on what a plain Hugging Face model leaves of each text alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from mechtui.engine import text_readings
from mechtui.engine.api import Cancelled, Engine
from mechtui.engine.model import Model
from mechtui.link.messages import Answered, Ask, Progress, Started
from mechtui.session.grammar.vectors import parse_vector
from mechtui.views import parse_question
from mechtui.worker.main import Worker
from tests.engine.conftest import load_now
from tests.engine.test_script import exported, run, text_of
from tests.engine.twin import CLOSE, session_of

GOOD = [
    f"{who} gave a {what} to the store" for who in ("Mary", "John", "Jim went and Mary") for what in ("drink", "kiss")
]
BAD = ["the drink", "When John went", "went to a store then", "big old", "Hate it and go", "a gave"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.txt").write_text("\n".join(GOOD))
    (tmp_path / "bad.txt").write_text("\n".join([*BAD, ""]))
    rows = zip(GOOD, BAD, strict=True)
    (tmp_path / "pairs.jsonl").write_text("\n".join(json.dumps({"good": a, "bad": b}) for a, b in rows))
    return tmp_path


@pytest.fixture(params=["gpt2", "llama"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(kind: str, request: pytest.FixtureRequest) -> Model:
    loaded: Model = request.getfixturevalue(f"{kind}_model")
    return loaded


class Plain:
    """Each text alone through transformers' own model."""

    def __init__(self, folder: Path, model: Model) -> None:
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
        self.encode = lambda text: model.encode(text, "no")

    @torch.no_grad()
    def rows(self, texts: list[str], part: str) -> list[np.ndarray]:
        """[pos, d_model] float64 of each text: what enters block 1, or what the MLP of block 0 writes."""
        body = getattr(self.model, "transformer", None) or self.model.model
        block = (getattr(body, "h", None) or body.layers)[0]
        found = []
        for text in texts:
            kept: list[torch.Tensor] = []
            handle = block.mlp.register_forward_hook(lambda _m, _i, output, kept=kept: kept.append(output))
            states = self.model(torch.tensor([self.encode(text)]), output_hidden_states=True).hidden_states
            handle.remove()
            found.append((states[1] if part == "L1.pre" else kept[0])[0].double().numpy())
        return found


@pytest.fixture
def plain(kind: str, model: Model, request: pytest.FixtureRequest) -> Plain:
    return Plain(request.getfixturevalue(f"{kind}_folder"), model)


def separation(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """By its definition, pair by pair."""
    scores: list[tuple[float, float]] = []
    for pair in range(len(first)):
        others = [n for n in range(len(first)) if n % 5 != pair % 5]
        a, b = first[others].mean(0), second[others].mean(0)
        along = (a - b) / np.linalg.norm(a - b)
        scores.append(tuple(float((side[pair] - (a + b) / 2) @ along) for side in (first, second)))
    right = np.mean([a > b for a, b in scores])
    auc = np.mean([a > b for a, _ in scores for _, b in scores])
    return float(right), float(auc)


def test_every_vector_and_the_separation(
    model: Model, plain: Plain, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_readings, "LEAST_TOKENS", 16)
    monkeypatch.setattr(text_readings, "BATCH_WORK", 0)  # batches of two texts and less
    lines = (
        "d = diff L1.pre file good.txt bad.txt",
        "c = diff L1.pre columns pairs.jsonl bad good @0",
        "m = mean L0.mlp file good.txt @all",
        "p = pca L1.pre column pairs.jsonl good 2 unit",
    )
    session = session_of("add L1.pre d x2", vectors=lines, bos="no")
    opened = Engine(model).open(session)
    assert not opened.problems
    good, bad = (np.stack([rows[-1] for rows in plain.rows(texts, "L1.pre")]) for texts in (GOOD, BAD))
    first = [np.stack([rows[0] for rows in plain.rows(texts, "L1.pre")]) for texts in (GOOD, BAD)]
    second = np.linalg.svd(good - good.mean(0))[2][1]
    expected = {
        "d": (good - bad).mean(0),
        "c": (first[1] - first[0]).mean(0),
        "m": np.mean([rows.mean(0) for rows in plain.rows(GOOD, "L0.mlp")], axis=0),
        "p": second * np.sign(second[np.abs(second).argmax()]),
    }
    for vector in session.vectors:
        np.testing.assert_allclose(
            opened.vector(vector).numpy(), expected[vector.name], atol=CLOSE, err_msg=vector.name
        )
    *_, (answer, _, _) = opened.answer(parse_question("vectors"))
    said = {each["name"]: each for each in answer.json()["vectors"]}
    assert [said[name]["pairs"] for name in "dcmp"] == [6, 6, 0, 0]
    np.testing.assert_allclose((said["d"]["right"], said["d"]["auc"]), separation(good, bad), atol=1e-6)
    assert 0 < said["d"]["auc"] <= 1
    assert said["p"]["auc"] is None
    # As a program, which reads the same files.
    names = run(text_of(exported(model, session_of(*(), vectors=lines, bos="no", views=("vectors",)))))
    for number, line in enumerate(lines):
        np.testing.assert_allclose(names[f"vector_{number}"].numpy(), expected[parse_vector(line).name], atol=CLOSE)


def test_a_reading_that_is_cancelled_goes_on_where_it_was(
    gpt2_model: Model, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_readings, "LEAST_TOKENS", 1)
    monkeypatch.setattr(text_readings, "BATCH_WORK", 0)  # a text at a time
    engine = Engine(gpt2_model)
    read: list[int] = []
    whole = text_readings.TextReadings._rows

    def noted(self: Any, reading: Any, batch: list[int], *rest: Any) -> torch.Tensor:
        rows = whole(self, reading, batch, *rest)
        read.extend(batch)
        return rows

    monkeypatch.setattr(text_readings.TextReadings, "_rows", noted)
    session = session_of(vectors=("d = diff L1.pre file good.txt bad.txt",))
    told: list[float] = []
    opened = engine.open(session, lambda: len(read) == 5)
    opened.progress = told.append
    with pytest.raises(Cancelled):
        list(opened.answer(parse_question("vectors")))
    assert len(read) == len(told) == 5
    assert told == sorted(told)
    value = engine.open(session).vector(session.vectors[0])
    assert sorted(read) == list(range(12))
    # The same activations make another vector of them, and nothing is read.
    unit = parse_vector("u = diff L1.pre file good.txt bad.txt unit")
    torch.testing.assert_close(engine.open(session).vector(unit), value / value.norm())
    assert len(read) == 12
    # A file that is another by now is read again.
    (folder / "bad.txt").write_text("\n".join([*GOOD[1:], "Hate"]))
    changed = engine.open(session).vector(session.vectors[0])
    assert len(read) == 24
    assert not torch.allclose(changed, value)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("v = mean L1.pre file none.txt", "v: there is no file none.txt"),
        ("v = mean L1.pre file good.txt @99", "v: good.txt line 1 has 10 tokens, so there is no position 99"),
        ("v = mean L1.pre file long.txt", "v: long.txt line 2 has 65 tokens and "),
        ("v = mean L9.pre file good.txt", "has no L9.pre: its layers are 0 to 1"),
        ("v = pca L1.pre file good.txt 6", "its 6 texts differ in 5 directions, so there is no such one"),
    ],
)
def test_what_cannot_be_made_is_said_of_the_edit(line: str, problem: str, gpt2_model: Model, folder: Path) -> None:
    (folder / "long.txt").write_text("Mary\n" + " to" * 65)
    opened = Engine(gpt2_model).open(session_of("add L1.pre v x2", vectors=(line,), bos="no"))
    assert [problem in each.sentence for each in opened.problems] == [True], opened.problems
    assert opened.edited is None


def test_the_reading_of_attention_only_models(folder: Path) -> None:
    engine = Engine(load_now("attn-only-2l"))
    opened = engine.open(session_of(vectors=("m = mean L1.post file good.txt",)))
    rows = [engine.open(session_of(prompt=text)).clean.activation("blocks.1.hook_resid_post")[-1] for text in GOOD]
    torch.testing.assert_close(opened.vector(opened.session.vectors[0]), torch.stack(rows).mean(0), atol=1e-4, rtol=0)


class Wire:
    """Keeps what the model process says."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def send(self, reply: Any, number: int | None = None) -> None:
        self.said.append(reply)


def test_what_no_edit_decides_comes_before_files_are_read(
    gpt2_model: Model, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire: Any = Wire()
    worker = Worker(wire)
    worker.engine = Engine(gpt2_model)
    was = text_readings.TextReadings.sides

    def noted(self: Any, *each: Any) -> Any:
        wire.said.append("read")
        return was(self, *each)

    monkeypatch.setattr(text_readings.TextReadings, "sides", noted)
    vectors = ["v = mean L1.pre file good.txt", "w = mean L1.pre file nowhere.txt"]
    session = session_of("add L1.pre v x2", "add L1.pre w", vectors=vectors)
    questions = tuple(map(parse_question, ("next_tokens", "tokens", "circuit L0H0", "residual")))

    def answer(ask: Ask) -> None:
        worker.inbox.put(ask)
        found = worker.inbox.take(True)
        assert found is not None
        worker.answer(ask, found[1])

    answer(Ask(1, session, questions))

    def named(reply: Any) -> str:
        return reply if isinstance(reply, str) else type(reply).__name__

    answers = [reply for reply in wire.said if isinstance(reply, Answered)]
    said = [(reply.question.line(), reply.edited is not None, reply.partial) for reply in answers]
    first = [("next_tokens", False, True), ("tokens", False, False), ("circuit L0H0", False, False)]
    first += [("residual", False, True)]
    assert said == [*first, ("next_tokens", True, False), ("residual", True, False)], "of the clean run at once"
    order = [named(reply) for reply in wire.said if not isinstance(reply, Progress)]
    assert order[:9] == ["Started", *["Answered"] * 4, "read", "read", "Started", "Answered"]
    started = [reply for reply in wire.said if isinstance(reply, Started)]
    assert started[0].problems == ()
    [problem] = started[1].problems
    assert (problem.index, problem.where) == (1, "add L1.pre w x1")
    assert "nowhere.txt" in problem.sentence
    # Once they are read they hold up nothing, and what cannot be had is said at once.
    wire.said.clear()
    answer(Ask(2, session_of("add L1.pre v x2", vectors=vectors[:1]), questions))
    answers = [reply for reply in wire.said if isinstance(reply, Answered)]
    assert [reply.question for reply in answers] == list(questions)
    assert "read" not in wire.said
    # One that is off holds up nothing that is asked, either: it is read when all is said.
    wire.said.clear()
    worker.engine.runner.vectors.forget()
    answer(Ask(2, session_of("zero L0H1", "# add L1.pre v x2", vectors=vectors[:1]), questions))
    order = [named(reply) for reply in wire.said if not isinstance(reply, Progress)]
    assert order[:6] == ["Started", *["Answered"] * 4, "read"]
    assert [reply.edited is None for reply in wire.said if isinstance(reply, Answered)] == [False, True, True, False]
    # Where nothing that is asked needs them they come last; without a question they are all that is asked for.
    for generation, asked in enumerate((questions[1:2], ()), 3):
        wire.said.clear()
        worker.engine.runner.vectors.forget()
        answer(Ask(generation, session, asked))
        assert [reply for reply in wire.said if isinstance(reply, Started)][-1].problems == (problem,)
