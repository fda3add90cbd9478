"""`path` against plain runs, module by module: every sender alone, what it does to the logits and to the receiver."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mechtui.engine.api import Engine, OpenSession, SessionError
from mechtui.engine.model import Model
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.places import parse_site
from mechtui.views import parse_question
from mechtui.views.path import Path, PathAnswer
from tests import folders
from tests.engine import reference
from tests.engine.conftest import load_now
from tests.engine.twin import LONGER, session_of

CLOSE = 2e-4


@pytest.fixture(scope="module", params=["gpt2", "llama", "attention_only"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Any]:
    """A model of three layers, and its weights as plain modules."""
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp(request.param)
    made = getattr(folders, request.param)(folder, 3)
    if isinstance(made, tuple):
        return load_now(folder), made[1]
    plain = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    return load_now(folder), plain.eval()


def asked(opened: OpenSession, line: str) -> tuple[PathAnswer, PathAnswer | None]:
    question = parse_question(line)
    assert parse_question(question.line()) == question
    *_, (clean, edited, more) = opened.answer(question.asked())
    assert not more
    assert isinstance(clean, PathAnswer)
    return clean, edited  # type: ignore[return-value]


class Plain:
    """The same by the reference."""

    def __init__(self, network: Any, opened: OpenSession) -> None:
        self.network, self.opened = network, opened
        targets = opened.targets_at(len(opened.ids) - 1)
        self.answer, self.foil = (int(each or 0) for each in targets)

    def run(self, *lines: str) -> tuple[float, reference.Activations]:
        opened = self.opened
        edits = [*(each for each in opened.session.edits if each.on), *map(parse_edit, lines)]
        logits, kept = reference.run(
            self.network,
            opened.ids,
            edits,
            source_ids=opened.source_ids or None,
            alignment=opened.alignment or None,
        )
        return float(logits[-1, self.answer] - logits[-1, self.foil]), kept


LINES = (
    "path L2H1.q",
    "path L2H0.k 11>4",
    "path L1H1.v @11",
    "path L1.mlp @10",
    "path L2H1.q layers cut",
    "path L2.mlp cut",
)


@pytest.mark.parametrize("line", LINES)
def test_every_sender_alone_is_what_a_plain_run_says(pair: tuple[Model, Any], line: str) -> None:
    model, network = pair
    if "mlp" in line and not model.shape.d_mlp:
        pytest.skip("attention alone")
    opened = Engine(model).open(session_of("zero L0H1 @3"))
    question = parse_question(line)
    assert isinstance(question, Path)
    _, edited = asked(opened, line)
    assert edited is not None
    plain = Plain(network, opened)
    baseline, now = plain.run()
    assert edited.baseline == pytest.approx(baseline, abs=CLOSE)
    op = "cut-path" if "cut" in line else "patch-path"
    assert edited.how == op.removesuffix("-path")
    at = "" if question.at is None else f" @{question.at}"
    names = edited.senders
    assert ("pos" in names) == model.shape.has_pos
    assert len(names) == len(set(names))
    layers = [parse_site(name).layers.first for name in names if name.startswith("L")]
    assert max(layers) == question.layer - (question.part != "mlp")
    moved = 0
    for number, name in enumerate(names):
        difference, kept = plain.run(f"{op} {name}>{edited.receiver}{at}")
        assert edited.effect[number] == pytest.approx(difference - baseline, abs=CLOSE), name
        assert edited.moves[number] == pytest.approx(move(question, edited, kept, now, model), abs=CLOSE), name
        moved += max(abs(difference - baseline), abs(edited.moves[number])) > 10 * CLOSE
    assert moved
    if edited.how == "cut":
        assert edited.together is None
        return
    every, _ = plain.run(*(f"{op} {name}>{edited.receiver}{at}" for name in names))
    assert edited.together == pytest.approx(every - baseline, abs=CLOSE)


def move(
    question: Path, answer: PathAnswer, kept: reference.Activations, now: reference.Activations, model: Model
) -> float:
    """What of the receiver's own is another."""
    layer, head = question.layer, question.head
    group = head * model.shape.n_kv_heads // model.shape.n_heads
    if question.part in ("q", "k"):
        was, value = (float(each["scores", layer][head, answer.query, answer.key]) for each in (now, kept))
        assert answer.score == pytest.approx(was, abs=CLOSE)
        return value - was
    if question.part == "v":
        old, new = (each["v", layer][answer.key, group] for each in (now, kept))
    else:
        old, new = (each["mlp", layer][answer.query] for each in (now, kept))
    return float((new @ old) / (old @ old)) - 1


def test_one_path_position_by_position(pair: tuple[Model, Any]) -> None:
    model, network = pair
    opened = Engine(model).open(session_of())
    answer, edited = asked(opened, "path L0H1>L2H1.k cut")
    assert edited is None
    assert answer.senders == tuple(f"@{position}" for position in range(len(opened.ids)))
    plain = Plain(network, opened)
    baseline, _ = plain.run()
    for position, effect in enumerate(answer.effect):
        difference, _ = plain.run(f"cut-path L0H1>{answer.receiver} @{position}")
        assert effect == pytest.approx(difference - baseline, abs=CLOSE)
    together, _ = plain.run(f"cut-path L0H1>{answer.receiver}")
    assert answer.together == pytest.approx(together - baseline, abs=CLOSE)


@pytest.mark.parametrize("cut", [False, True])
def test_the_logits_read_each_write_through_the_final_norm(pair: tuple[Model, Any], cut: bool) -> None:
    model, network = pair
    opened = Engine(model).open(session_of(prompt=LONGER if cut else session_of().prompt))
    answer, _ = asked(opened, "path logits cut" if cut else "path logits")
    parts = reference.parts_of(network)
    _, kept = reference.run(network, opened.ids)
    source = reference.run(network, opened.source_ids)[1] if not cut else {}
    plain = Plain(network, opened)
    final = kept["post", 2][-1]

    @torch.no_grad()
    def write(of: reference.Activations, name: str) -> torch.Tensor:
        site = parse_site(name)
        if site.kind in ("embed", "pos"):
            return of[site.kind, 0][-1]
        layer = site.layers.first
        if site.kind == "layer":
            return of["mlp", layer][-1]
        z = torch.zeros_like(of["z", layer])
        nothing = parts.blocks[layer].write(z)
        z[:, site.index.first] = of["z", layer][:, site.index.first]
        return (parts.blocks[layer].write(z) - nothing)[-1]

    def difference(stream: torch.Tensor) -> float:
        with torch.no_grad():
            logits = parts.final(stream[None])[0]
        return float(logits[plain.answer] - logits[plain.foil])

    total = torch.zeros_like(final)
    for name, effect in zip(answer.senders, answer.effect, strict=True):
        change = -write(kept, name) + (0 if cut else write(source, name))
        total = total + change
        assert effect == pytest.approx(difference(final + change) - answer.baseline, abs=CLOSE), name
    if not cut:
        assert answer.together == pytest.approx(difference(final + total) - answer.baseline, abs=CLOSE)
    assert (answer.together is None) == cut
    assert np.isnan(answer.moves).all()


def test_a_stopped_list_goes_on_and_an_edit_changes_it(pair: tuple[Model, Any]) -> None:
    model, _ = pair
    engine = Engine(model)
    question = parse_question("path L2H1.q cut")
    stream = engine.open(session_of()).answer(question)
    first = next(stream)[0]
    stream.close()
    assert isinstance(first, PathAnswer)
    assert first.left is not None
    assert first.left.done < first.left.runs
    clean, _ = asked(engine.open(session_of()), "path L2H1.q cut")
    again, edited = asked(engine.open(session_of("cut-path L0H0>L2H1.q")), "path L2H1.q cut")
    assert edited is not None
    np.testing.assert_array_equal(again.effect, clean.effect)
    # What is cut already changes nothing more.
    assert abs(edited.effect[edited.senders.index("L0H0")]) < CLOSE
    assert np.nanmax(np.abs(edited.effect - clean.effect)) > 10 * CLOSE
    back, nothing = asked(engine.open(session_of("# cut-path L0H0>L2H1.q")), "path L2H1.q cut")
    assert nothing is None
    np.testing.assert_array_equal(back.effect, clean.effect)


def test_what_cannot_be_asked_is_said(pair: tuple[Model, Any]) -> None:
    model, _ = pair
    opened = Engine(model).open(session_of())
    with pytest.raises(SessionError, match="position 3 cannot see position 9"):
        asked(opened, "path L2H1.q 3>9")
    with pytest.raises(SessionError, match="its layers are 0 to 2"):
        asked(opened, "path L3H1.q")
    with pytest.raises(SessionError, match="give the session an answer and a foil"):
        asked(Engine(model).open(session_of(answer=" Mary")), "path L2H1.q")
