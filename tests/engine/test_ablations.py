"""`attribution measured`: every part ablated in a run of its own, against a plain model that is run so often."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import Tensor
from transformers import AutoModelForCausalLM

from mechtui.engine.api import Engine, OpenSession
from mechtui.engine.model import Model
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.words import LineError
from mechtui.views import parse_question
from mechtui.views.attribution import Attribution, AttributionAnswer, Components, Repair
from tests import folders
from tests.engine import reference
from tests.engine.conftest import load_now
from tests.engine.test_attribution import spread
from tests.engine.test_linear import Subject, ending, held
from tests.engine.test_script import program_answers, same
from tests.engine.twin import CLOSE, session_of

EDITS = ("scale L0H1 x2", "scale L1.mid @3 x1.5")
TARGET = {"answer": " st", "foil": " Mar"}


@pytest.fixture(scope="module", params=["gpt2", "llama", "attention_only"])
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp(request.param)
    made = getattr(folders, request.param)(folder)
    if isinstance(made, tuple):
        return Subject(load_now(folder), made[1])
    plain = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    spread(plain, folder)  # norms and biases with numbers of their own
    return Subject(load_now(folder), plain.eval())


def answers(opened: OpenSession, line: str) -> list[AttributionAnswer]:
    *_, (clean, edited, more) = opened.answer(parse_question(line))
    assert not more
    found = [each for each in (clean, edited) if each is not None]
    assert all(isinstance(each, AttributionAnswer) for each in found)
    return found  # type: ignore[return-value]


class Plain:
    """Runs of a plain model, explained at one position."""

    def __init__(self, network: Any, opened: OpenSession, position: int, edits: Sequence[Any]) -> None:
        self.network, self.opened, self.position, self.edits = network, opened, position, tuple(edits)
        self.parts, (self.norm, self.head) = reference.parts_of(network), ending(network)
        self.difference, self.kept = self.run(())
        self.last = len(self.parts.blocks) - 1

    @torch.no_grad()
    def run(self, more: Sequence[Any]) -> tuple[float, reference.Activations]:
        """What it says of answer minus foil with these edits besides, and its activations."""
        logits, kept = reference.run(
            self.network, self.opened.ids, (*self.edits, *more), references=self.opened.references
        )
        return self.of(logits[self.position]), kept

    def of(self, logits: Tensor) -> float:
        answer, foil = self.opened.targets
        assert answer is not None
        return float(logits[answer]) - (float(logits[foil]) if foil is not None else 0.0)

    @torch.no_grad()
    def reads(self, change: Tensor) -> float:
        """What a change of the final stream says, the final norm's scale held."""
        base = self.kept["post", self.last][self.position]
        return self.of(held(self.norm, base + change, base) @ self.head.T) - self.of(
            held(self.norm, base, base) @ self.head.T
        )

    @torch.no_grad()
    def wrote(self, kept: reference.Activations, layer: int, head: int | None) -> Tensor:
        """What a head writes, or the MLP."""
        if head is None:
            return kept["mlp", layer][self.position]
        z = kept["z", layer][[self.position]]
        alone = torch.zeros_like(z)
        alone[:, head] = z[:, head]
        write = self.parts.blocks[layer].write
        written: Tensor = (write(alone) - write(torch.zeros_like(z)))[0]
        return written

    def ablated(self, line: str) -> tuple[float, float, dict[tuple[int, int | None], float]]:
        """What an edit's line measures: the change, the change with the final norm's scale held, and the change of
        every part's own line."""
        difference, kept = self.run([parse_edit(line)])
        shape = self.opened.shape
        heads: list[int | None] = [*range(shape.n_heads), *([None] if shape.d_mlp else [])]
        lines = {
            (layer, head): self.reads(self.wrote(kept, layer, head) - self.wrote(self.kept, layer, head))
            for layer in range(shape.n_layers)
            for head in heads
        }
        moved = kept["post", self.last][self.position] - self.kept["post", self.last][self.position]
        return difference - self.difference, self.reads(moved), lines


def name(layer: int, head: int | None) -> str:
    return f"L{layer}.mlp" if head is None else f"L{layer}H{head}"


@pytest.mark.parametrize(
    ("words", "references"), [("measured", ()), ("@4 measured mean here", ()), ("@-2 measured mean", ("Mary John",))]
)
def test_measured_is_direct_and_others_as_plain_runs_say(
    subject: Subject, words: str, references: tuple[str, ...]
) -> None:
    session = session_of(*EDITS, references=references, **TARGET)
    opened = Engine(subject.model).open(session)
    question = parse_question(f"attribution {words}")
    assert isinstance(question, Attribution)
    position = question.position % len(opened.ids)
    at = f" @{position}" if question.here else ""
    both = answers(opened, f"attribution {words}")
    plain_words = words.replace("measured mean", "").replace("measured", "").replace("here", "")
    lines = answers(opened, f"attribution {plain_words}")
    repaired = {part: answers(opened, f"attribution {part} {words}") for part in ("L0H1", "L1H2")}
    for run, (answer, edits) in enumerate(zip(both, ((), session.edits), strict=True)):
        plain = Plain(subject.network, opened, position, edits)
        ablated = answer.ablated
        assert ablated is not None
        assert (ablated.op, ablated.here) == (question.measured, question.here)
        # The lines themselves are those of the plain question.
        assert isinstance(answer.parts, Components)
        np.testing.assert_array_equal(answer.parts.heads, lines[run].parts.heads)  # type: ignore[union-attr]
        assert ablated.measured.shape[1] == opened.shape.n_heads + (opened.shape.d_mlp > 0)
        for cell in np.ndindex(*ablated.measured.shape):
            layer, head = cell[0], None if cell[1] == opened.shape.n_heads else cell[1]
            measured, frozen, moved = plain.ablated(f"{ablated.op} {name(layer, head)}{at}")
            assert ablated.measured[cell] == pytest.approx(measured, abs=1e-3)
            assert ablated.frozen[cell] == pytest.approx(frozen, abs=1e-3)
            assert ablated.direct[cell] == pytest.approx(moved[layer, head], abs=1e-3)
            assert ablated.others[cell] == pytest.approx(measured - moved[layer, head], abs=2e-3)
            assert ablated.norm[cell] == pytest.approx(measured - frozen, abs=2e-3)
            if name(layer, head) not in repaired:
                continue
            made = repaired[name(layer, head)][run]
            parts = made.parts
            assert isinstance(parts, Repair)
            assert made.total == pytest.approx(measured, abs=1e-3)
            assert parts.norm == pytest.approx(measured - frozen, abs=2e-3)
            assert parts.direct == pytest.approx(moved[layer, head], abs=1e-3)
            for (other, number), change in moved.items():
                mine = parts.mlps[other] if number is None else parts.heads[other, number]
                assert mine == pytest.approx(change, abs=1e-3)
            whole = parts.heads.sum() + np.nansum(parts.mlps) + parts.bias + parts.edits + parts.norm
            assert whole == pytest.approx(made.total, abs=1e-3)
        # There is something to see: parts that others make up for, and a norm that does some of it.
        assert np.abs(ablated.others).max() > 0.05
        assert np.abs(ablated.norm).max() > 0.01


def test_an_edit_changes_it_and_turned_off_leaves_it_exactly(subject: Subject) -> None:
    engine = Engine(subject.model)

    def tables(*edits: str) -> list[np.ndarray]:
        every = answers(engine.open(session_of(*edits, **TARGET)), "attribution measured")
        return [each.ablated.measured for each in every if each.ablated is not None]

    [first] = tables()
    clean, edited = tables("scale L0H1 x3")
    [again] = tables("# scale L0H1 x3")
    np.testing.assert_array_equal(clean, first)
    np.testing.assert_array_equal(again, first)
    assert np.abs(edited - first).max() > 0.01


def test_parts_come_one_after_the_other_and_what_was_interrupted_goes_on(gpt2_model: Model) -> None:
    engine = Engine(gpt2_model)
    session = session_of("scale L0H1 x2", **TARGET)
    shares: list[float] = []

    def begun() -> tuple[int, Any]:
        opened = engine.open(session, progress=shares.append)
        coming = opened.answer(parse_question("attribution measured"))
        clean, edited, more = next(coming)
        assert more
        known = [each.ablated.measured for each in (clean, edited)]
        assert all(each.ablated.direct.all() for each in (clean, edited))
        return sum(int(np.isfinite(each).sum()) for each in known), coming

    count, coming = begun()
    assert count == 0
    clean, edited, more = next(coming)
    assert more
    # The edited run first, and of it the parts whose lines are largest.
    found = np.isfinite(edited.ablated.measured)
    assert not np.isfinite(clean.ablated.measured).any()
    assert 0 < found.sum() < found.size
    assert np.abs(edited.ablated.direct[found]).min() >= np.abs(edited.ablated.direct[~found]).max()
    coming.close()
    count, coming = begun()
    assert count == found.sum()
    *_, (clean, edited, more) = coming
    assert not more
    assert np.isfinite([clean.ablated.measured, edited.ablated.measured]).all()
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_of_the_linear_model_no_norm_makes_up_for_anything(gpt2_model: Model) -> None:
    engine = Engine(gpt2_model)
    session = session_of(EDITS[0], linear=True, **TARGET)
    opened = engine.open(session)
    [_, answer] = answers(opened, "attribution measured")
    assert answer.ablated is not None
    np.testing.assert_array_equal(answer.ablated.norm, 0)
    for cell, part in (((0, 1), "L0H1"), ((1, 2), "L1H2"), ((0, 4), "L0.mlp")):
        more = replace(session, edits=(*session.edits, parse_edit(f"zero {part}")))
        [_, changed] = answers(engine.open(more), "attribution")
        assert answer.ablated.measured[cell] == pytest.approx(changed.total - answer.total, abs=1e-4)
        [_, made] = answers(opened, f"attribution {part} measured")
        assert isinstance(made.parts, Repair)
        assert made.total == pytest.approx(changed.total - answer.total, abs=1e-4)
        assert made.parts.direct == pytest.approx(float(answer.ablated.direct[cell]), abs=CLOSE)
        assert made.parts.norm == pytest.approx(0, abs=CLOSE)
    # No later part writes anything else but through values: the last layer's parts have nobody behind them.
    np.testing.assert_allclose(answer.ablated.others[1], 0, atol=1e-3)


@pytest.mark.parametrize("linear", [False, True])
def test_the_exported_program_says_the_same(subject: Subject, linear: bool) -> None:
    if linear and subject.model.shape.n_heads > 4:
        pytest.skip("one model with MLPs is enough of the linear model")
    lines = ["attribution measured", "attribution @3 measured mean here", "attribution L1H2 measured mean"]
    lines += ["attribution L0.mlp @4 measured here"] if subject.model.shape.d_mlp else []
    session = session_of(EDITS[0], bos="yes", linear=linear, **TARGET)
    session = replace(session, views=tuple(lines))
    program = program_answers(subject.model, session)
    opened = Engine(subject.model).open(session)
    for line in lines:
        for run, answer in zip(("clean", "edited"), answers(opened, line), strict=True):
            same(program[run, line], answer.json(), f"{line}, {run}", 1e-3)
            assert set(answer.json()) - set(program[run, line]) == {"rounding"}


def test_json_has_tables_that_npz_takes(gpt2_model: Model) -> None:
    [answer] = answers(Engine(gpt2_model).open(session_of(**TARGET)), "attribution measured mean here")
    said = answer.json()
    assert (said["ablation"], said["here"]) == ("mean", True)
    for key in ("direct", "measured", "measured_frozen", "others", "norm"):
        assert np.shape(said[key]) == (2, 5)
    [answer] = answers(Engine(gpt2_model).open(session_of(**TARGET)), "attribution L0H1 measured")
    said = answer.json()
    assert said["others"] == pytest.approx(said["total"] - said["direct"])
    assert np.shape(said["heads"]) == (2, 4)


@pytest.mark.parametrize(
    "line",
    [
        "attribution measured",
        "attribution @3 answer measured mean here effect",
        "attribution L9H9 measured",
        "attribution L9.mlp measured mean",
        "attribution measured here others",
    ],
)
def test_a_line_is_what_it_parses_to(line: str) -> None:
    assert parse_question(line).line() == line


def test_every_word_on_how_a_part_is_ablated_says_that_it_is() -> None:
    for short, line in (("zero", "measured"), ("mean", "measured mean"), ("here", "measured here")):
        assert parse_question(f"attribution {short}").line() == f"attribution {line}"
    assert parse_question("attribution measured zero here") == parse_question("attribution here zero")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("attribution measured noise", "noise should be a head"),
    ],
)
def test_a_line_that_means_nothing_is_refused_at_its_place(line: str, said: str) -> None:
    with pytest.raises(LineError, match=re.escape(said)) as caught:
        parse_question(line)
    assert line[caught.value.column :].startswith(said.split(maxsplit=1)[0])
