"""Paths: what they do to the models in the wheel, which models have none, and that they leave no trace."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mechtui.engine.api import Engine, Metric, NoGradientError
from mechtui.engine.model import Model
from mechtui.session.document import Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.hook_edits import EditError
from mechtui.session.prompt import Prompt, Surroundings
from mechtui.session.resolve import resolve
from tests.engine.conftest import load_now
from tests.engine.twin import PROMPT, session_of


def test_the_key_path_of_the_previous_token_head_is_what_induction_stands_on() -> None:
    """On random tokens said twice; no other head's path into those keys does as much as a tenth."""
    model = load_now("attn-only-2l")
    engine = Engine(model)
    half = np.random.default_rng(0).integers(5, model.shape.d_vocab - 5, 40).tolist()
    ids = tuple(half * 2)
    around = Surroundings(model.ready)

    def loss(*lines: str) -> float:
        """Mean surprise of the second half, its first token left out."""
        prompt = Prompt(ids, tuple("" for _ in ids), len(ids))
        edits = tuple(each for line in lines for each in resolve(parse_edit(line), prompt, around))
        return float(engine.run(ids, edits).surprise()[41:].mean())

    clean = loss()
    values, _, _ = engine.composition("K")
    later, earlier = np.unravel_index(np.nanargmax(values), values.shape)
    previous = int(earlier)
    assert previous < model.shape.n_heads <= later
    rises = {head: loss(f"cut-path L0H{head}>L1H*.k") - clean for head in range(model.shape.n_heads)}
    assert clean < 1
    assert rises.pop(previous) > 8
    assert max(rises.values()) < 0.8
    assert abs(loss(f"cut-path L0H{previous}>L1H*.q") - clean) < 0.8
    assert loss() == clean


def test_of_the_demo_too_where_words_are_said_twice() -> None:
    """The same holds on a dozen words said twice; on forty random tokens its induction has other ways, too."""
    model = load_now("demo")
    engine = Engine(model)
    values, _, _ = engine.composition("K")
    best = np.argsort(-np.nan_to_num(values, nan=-1), axis=None)[:3]
    [previous] = {int(at) % len(values) for at in best}
    assert {int(at) // len(values) // model.shape.n_heads for at in best} == {3}
    opened = engine.open(Session(prompt="a"))
    assert [*opened.head_cards()]
    text = opened.repeat

    def losses(*lines: str) -> tuple[float, float]:
        """Mean surprise of the first half and of the second, the first token of either left out."""
        session = Session(prompt=text, edits=tuple(map(parse_edit, lines)))
        opened = engine.open(session)
        surprise, half = (opened.edited or opened.clean).surprise(), len(opened.ids) // 2
        return float(surprise[1:half].mean()), float(surprise[half + 1 :].mean())

    first, second = losses()
    both = {head: losses(f"cut-path L0H{head}>L3H*.k") for head in range(model.shape.n_heads)}
    cut = both.pop(previous)
    assert second < 1.5
    assert cut[1] - second > 4
    assert abs(cut[0] - first) < 0.8
    assert max(each[1] for each in both.values()) - second < 0.8


def test_undone_it_is_the_clean_run_to_the_last_bit(gpt2_model: Model) -> None:
    engine = Engine(gpt2_model)
    before = engine.open(session_of()).clean.logits().clone()
    edited = engine.open(session_of("cut-path L0H1>L1H2.q")).edited
    assert edited is not None
    assert not torch.equal(edited.logits(), before)
    assert torch.equal(engine.open(session_of("# cut-path L0H1>L1H2.q")).clean.logits(), before)
    # The same path named twice, or with its whole layer, is one path.
    whole = engine.open(session_of("cut-path L0.attn>L1H2.q")).edited
    both = engine.open(session_of("cut-path L0H1>L1H2.q", "cut-path L0.attn>L1H2.q", "cut-path L0H*>L1H2.q")).edited
    assert whole is not None
    assert both is not None
    torch.testing.assert_close(whole.logits(), both.logits(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "line", "why"),
    [
        ("gpt2", "cut-path L0H4>L1H0.q", "has no L0H4: its heads are 0 to 3"),
        ("gpt2", "cut-path L1H0>L2H0.q", "has no L2H0.q: its layers are 0 to 1"),
        ("llama", "cut-path L0H0>L1H2.k", "its key-value groups are 0 to 1"),
        ("llama", "cut-path pos>L1H0.q", "it adds no position embedding"),
        ("attn-only-2l", "cut-path L0H0>L1.mlp", "has no L1.mlp"),
        ("gpt2", "patch-path L0H0>L1H0.q", "patch-path takes its values from a source prompt"),
    ],
)
def test_what_a_model_has_not_is_refused_by_name(
    name: str, line: str, why: str, request: pytest.FixtureRequest
) -> None:
    model: Model = load_now(name) if name.startswith("attn") else request.getfixturevalue(f"{name}_model")
    opened = Engine(model).open(Session(prompt=PROMPT, edits=(parse_edit(line),)))
    (problem,) = opened.problems
    assert why in problem.sentence
    assert opened.edited is None


def test_heads_that_cannot_be_told_apart_are_refused(gpt2_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried out, not believed: with other weights than those that run, there is no path of a single head."""
    engine = Engine(gpt2_model)
    weights = engine.runner.forward.weights
    own = weights.writes
    monkeypatch.setattr(weights, "writes", lambda layer, head: 2 * own(layer, head))
    opened = engine.open(session_of())
    with pytest.raises(EditError, match=r"cannot be told apart: take L0\.attn as the sender"):
        opened.hook_edits_of(parse_edit("cut-path L0H0>L1H0.q"), opened.ids, True)
    assert opened.hook_edits_of(parse_edit("cut-path L0.attn>L1H0.q"), opened.ids, True)
    monkeypatch.setattr(weights, "reads", lambda layer, part, head: torch.zeros(32, 8))
    with pytest.raises(EditError, match="so no path ends there"):
        opened.hook_edits_of(parse_edit("cut-path L0.mlp>L1H0.k"), opened.ids, True)


def test_nothing_is_estimated_while_a_path_is_cut(gpt2_model: Model) -> None:
    opened = Engine(gpt2_model).open(session_of("cut-path L0H0>L1H0.q"))
    assert opened.edited is not None
    cells = [opened.hook_edits_of(parse_edit("zero L0H1"), opened.ids, True)]
    with pytest.raises(NoGradientError, match="while a path is cut or patched"):
        opened.edited.estimates(cells, Metric(1, 2, len(opened.ids) - 1), None)
