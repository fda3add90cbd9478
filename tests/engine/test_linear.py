"""Linear mode against a plain model that replays the clean run's patterns, norm scales and neurons."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import Tensor
from transformers import AutoModelForCausalLM

from mechtui.engine import linear
from mechtui.engine.api import Engine, Metric, Need, OpenSession, SessionError
from mechtui.engine.forward.fast_blocks import kinds
from mechtui.engine.linear import LinearRun
from mechtui.engine.model import Model
from mechtui.engine.runner import Runner
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.words import LineError
from mechtui.session.hook_edits import Ids
from mechtui.views import parse_question
from tests import folders
from tests.engine import reference
from tests.engine.conftest import load_now
from tests.engine.reference import Activations, Context, Parts
from tests.engine.twin import session_of
from tests.grid.families import make

VECTORS = ['v = diff L1.pre " Mary" " John"']
SITES = ("L1H1", "L0H*.v", "L1H0.q", "L0H0.pattern", "L1H1.scores", "L0.attn", "L0.mlp", "L1.pre", "L0.mid", "L0.post",
         "L0N3-9", "embed", "pos")  # fmt: skip
OPS = {"zero": "", "mean": "", "patch": "", "scale": "x0.3", "noise": "sd0.7 seed7", "add": "v x3", "project": "v"}


def lines() -> list[str]:
    found = []
    for op, argument in OPS.items():
        for site in SITES:
            line = " ".join(f"{op} {site} {'@3-7,-1' if op == 'scale' else ''} {argument}".split())
            try:
                parse_edit(line)
            except LineError:
                continue
            found.append(line)
    paths = [
        "cut-path L0H*>L1H0.v @3-7,-1",
        "patch-path L0.attn>L1H*.v",
        "cut-path embed>L1H1.q",
        "cut-path L0H1>L1.mlp",
    ]
    return [*found, "cut L1H1 13>2", "cut L0H* -1>0-3 raw", *paths]


def held(norm: Any, x: Tensor, clean: Tensor) -> Tensor:
    """The norm of x with the scale that it has of the clean run."""
    centred, of = x, clean
    if "RMS" not in type(norm).__name__:
        centred, of = x - x.mean(-1, keepdim=True), clean - clean.mean(-1, keepdim=True)
    eps = getattr(norm, "variance_epsilon", None) or norm.eps
    bias = getattr(norm, "bias", None)
    normed = centred / (of.pow(2).mean(-1, keepdim=True) + eps).sqrt() * norm.weight
    return normed if bias is None else normed + bias


@torch.no_grad()
def replayed(parts: Parts, final: Any, head: Tensor, ids: Tensor, edits: list[Any], context: Context) -> Tensor:
    """Logits [pos, vocab] of the plain model with what is held, each edit changing what it changes in the clean run."""
    clean = context.clean

    def shift(name: str, layer: int) -> Tensor | float:
        place = (name, layer)
        if place not in clean:
            return 0.0
        n_layers = len(parts.blocks)
        visible = clean["scores", layer] > -torch.inf if name == "pattern" else None
        acting = [each for each in edits if reference._acts_at(each, place, n_layers)]
        return sum((reference._apply(e, place, clean[place], context, visible) - clean[place] for e in acting), 0.0)

    def by_path(layer: int, block: Any) -> Tensor | float:
        """What paths change of the values that they end in."""
        acting = [each for each in edits if reference._acts_at(each, ("v_input", layer), len(parts.blocks))]
        if not acting:
            return 0.0
        pre, was = clean["pre", layer], clean["v", layer]
        every = pre[:, None].expand(-1, was.shape[1], -1)
        reads = reference._apply_paths(acting, ("v_input", layer), every, clean, context, parts)
        now = [block.qkv(held(block.norm_1, reads[:, h], pre))[2][:, h] for h in range(was.shape[1])]
        return torch.stack(now, 1) - was

    x = parts.embed(ids) + shift("embed", 0)
    if parts.pos is not None:
        x = x + parts.pos(ids) + shift("pos", 0)
    for i, block in enumerate(parts.blocks):
        x = x + shift("pre", i)
        v = block.qkv(held(block.norm_1, x, clean["pre", i]))[2] + shift("v", i) + by_path(i, block)
        group = clean["q", i].shape[1] // v.shape[1]
        was, now = (t.repeat_interleave(group, 1) for t in (clean["v", i], v))
        z = torch.einsum("hqk,khd->qhd", clean["pattern", i], now)
        if isinstance(moved := shift("pattern", i), Tensor):
            z = z + torch.einsum("hqk,khd->qhd", moved, was)
        x = x + block.write(z + shift("z", i)) + shift("attn", i)
        x = x + shift("mid", i)
        if block.down is not None:
            x = x + block.down(clean["neuron", i] + shift("neuron", i)) + shift("mlp", i)
        x = x + shift("post", i)
    return held(final, x, clean["post", len(parts.blocks) - 1]) @ head.T


@dataclass
class Subject:
    """model: what is tested. network: the same weights as plain modules."""

    model: Model
    network: Any


@pytest.fixture(scope="module", params=["gpt2", "llama", "attention_only"])
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp(request.param)
    made = getattr(folders, request.param)(folder, 3)
    if isinstance(made, tuple):
        return Subject(load_now(folder), made[1])
    plain = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    return Subject(load_now(folder), plain.eval())


def plain(network: Any, opened: OpenSession, edits: list[Any]) -> Tensor:
    """What the reference says of this session's prompt."""
    _, clean = reference.run(network, opened.ids)
    source: Activations = reference.run(network, opened.source_ids)[1] if opened.source_ids else {}
    vectors = {vector.name: opened.vector(vector).cpu() for vector in opened.session.vectors}
    texts = [token.text for token in opened.tokens]
    context = Context(clean, source, opened.alignment, vectors, texts, len(opened.ids))
    return replayed(reference.parts_of(network), *ending(network), torch.tensor(opened.ids), edits, context)


def ending(network: Any) -> tuple[Any, Tensor]:
    """The final norm, and what unembeds."""
    if hasattr(network, "h"):
        return network.ln_f, network.unembed
    if hasattr(network, "transformer"):
        return network.transformer.ln_f, network.lm_head.weight
    return network.model.norm, network.lm_head.weight


def opened_on(model: Model, *edits: str, **more: Any) -> OpenSession:
    return Engine(model).open(session_of(*edits, linear=True, vectors=VECTORS, **more))


def test_every_edit_alone_is_that_of_the_plain_model_that_replays_the_clean_run(subject: Subject) -> None:
    opened = opened_on(subject.model)
    moved = 0
    for line in lines():
        edit = parse_edit(line)
        made = opened.possible_hook_edits(edit)
        if made is None:
            assert not subject.model.shape.d_mlp or not subject.model.shape.has_pos, line
            continue
        logits = opened.run(opened.ids, made).logits()
        expected = plain(subject.network, opened, [edit])
        moved += bool((expected - opened.clean.logits()).abs().max() > 1e-2)
        assert (logits - expected).abs().max() < 1e-3, line
    assert moved > 25


def test_effects_add_up(subject: Subject) -> None:
    lines = ["zero L0H1", "scale L1H0 @-1 x3", "add L1.pre v x2", "cut L1H1 -1>0-3", "zero L0.attn @4", "zero embed @2"]
    lines += ["zero L0.mlp", "scale L1N3-9 x4"] if subject.model.shape.d_mlp else []
    opened = opened_on(subject.model, *lines)
    clean = opened.clean.logits()
    assert opened.edited is not None
    joint = opened.edited.logits() - clean
    alone = [opened.run(opened.ids, opened.hook_edits(n) or ()).logits() - clean for n in range(len(lines))]
    assert all(each.abs().max() > 1e-2 for each in alone)
    assert (joint - sum(alone)).abs().max() < 1e-3
    # The real model's effects do not.
    real = Engine(subject.model).open(replace(opened.session, linear=False))
    assert real.edited is not None
    each = [real.run(real.ids, real.hook_edits(n) or ()).logits() - clean for n in range(len(lines))]
    assert (real.edited.logits() - clean - sum(each)).abs().max() > 0.1
    answer, *_ = [clean for clean, _, _ in opened.answer(parse_question("effects"))]
    assert answer.together == pytest.approx(sum(answer.effect), abs=1e-3)
    line = "attribution"
    (before, after, _) = next(opened.answer(parse_question(line)))
    assert after.total - before.total == pytest.approx(answer.together, abs=1e-3)


def test_turned_off_it_leaves_nothing_behind(subject: Subject) -> None:
    engine = Engine(subject.model)
    off = session_of("zero L0H1", "scale L1H0 x3")
    before = engine.open(off)
    assert before.edited is not None
    clean, edited = before.clean.logits().clone(), before.edited.logits().clone()
    on = engine.open(replace(off, linear=True))
    assert on.edited is not None
    assert torch.equal(on.clean.logits(), clean)
    assert (on.edited.logits() - edited).abs().max() > 1e-2
    again = engine.open(off)
    assert again.edited is not None
    assert torch.equal(again.clean.logits(), clean)
    assert torch.equal(again.edited.logits(), edited)
    fresh = Engine(subject.model).open(off)
    assert fresh.edited is not None
    assert torch.equal(fresh.edited.logits(), edited)


def test_what_is_read_of_a_linear_run_adds_up_to_its_stream(subject: Subject) -> None:
    opened = opened_on(subject.model, "zero L0H1", "add L1.pre v x2", "cut L1H1 -1>0-3")
    run, shape = opened.edited, opened.shape
    assert run is not None
    for layer in range(shape.n_layers):
        entering = run.activation(f"blocks.{layer}.hook_resid_pre")
        wrote = run.activation(f"blocks.{layer}.hook_attn_out")
        leaving = run.activation(f"blocks.{layer}.hook_resid_post")
        mlp = run.activation(f"blocks.{layer}.hook_mlp_out") if shape.d_mlp else 0.0
        assert torch.allclose(entering + wrote + mlp, leaving, atol=1e-4)
        z = run.activation(f"blocks.{layer}.attn.hook_z")
        assert torch.allclose(
            torch.einsum("qhd,hdm->qm", z - opened.clean.activation(f"blocks.{layer}.attn.hook_z"), opened.W_O(layer)),
            wrote - opened.clean.activation(f"blocks.{layer}.hook_attn_out"),
            atol=1e-4,
        )
    assert torch.equal(
        run.take(Need("blocks.0.attn.hook_pattern")), opened.clean.take(Need("blocks.0.attn.hook_pattern"))
    )


def test_a_sweep_and_a_continuation_are_of_the_linear_model(subject: Subject) -> None:
    opened = opened_on(subject.model, "zero L0H1", answer=" Mary", foil=" John")
    *_, (clean, edited, _) = opened.answer(parse_question("sweep zero L*H*"))
    answer, foil = opened.targets
    edits = list(opened.session.edits)
    base = plain(subject.network, opened, edits)[-1]
    one = plain(subject.network, opened, [*edits, parse_edit("zero L1H1")])[-1]
    change = (one[answer] - one[foil]) - (base[answer] - base[foil])
    assert edited.values[1][1] == pytest.approx(float(change), abs=1e-3)
    assert clean.values[1][1] == pytest.approx(float(change), abs=1e-3)
    assert opened.edited is not None
    cell = opened.possible_hook_edits(parse_edit("zero L1H1")) or ()
    estimated = opened.edited.estimates([cell], Metric(int(answer), int(foil), len(opened.ids) - 1))
    assert estimated[0] == pytest.approx(float(change), abs=1e-3)
    *_, (_, said, _) = opened.answer(parse_question("generate 3"))
    ids = opened.ids
    for token in said.tokens:
        longer = opened_on(subject.model, "zero L0H1")
        longer.ids = ids
        assert token.id == int(plain(subject.network, longer, edits)[-1].argmax())
        ids = (*ids, token.id)


def test_no_cell_of_a_sweep_is_computed_twice(gpt2_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    ran, was = [], LinearRun._batch

    def counted(self: LinearRun, variants: Any, position: int) -> Tensor:
        ran.extend(variants)
        return was(self, variants, position)

    monkeypatch.setattr(LinearRun, "_batch", counted)
    opened = opened_on(gpt2_model, answer=" Mary", foil=" John")
    [(plan, _, _)] = opened.answer(parse_question("sweep zero L*.mlp plan"))
    assert plan.estimates is None
    assert plan.left.runs == len(opened.ids) * opened.shape.n_layers
    assert len(ran) <= 1  # how long one takes
    ran.clear()
    answers = opened.answer(parse_question("sweep zero L*.mlp"))
    assert next(answers)[2]
    assert not ran
    *_, (clean, _, more) = answers
    assert not more
    assert len(ran) == clean.values.size


@torch.no_grad()
def test_a_path_into_the_logits_is_read_with_the_clean_scale(subject: Subject) -> None:
    opened = opened_on(subject.model, "scale L0H1 x5", answer=" Mary", foil=" John")
    [(clean, edited, _)] = opened.answer(parse_question("path logits cut"))
    (final, head), parts = ending(subject.network), reference.parts_of(subject.network)
    x = reference.run(subject.network, opened.ids)[1]["post", opened.shape.n_layers - 1][-1]
    read = held(final, x - parts.embed(torch.tensor(opened.ids))[-1], x) - held(final, x, x)
    answer, foil = opened.targets
    expected = float(read @ (head[answer] - head[foil]))
    assert abs(expected) > 1e-2
    assert clean.effect[clean.senders.index("embed")] == pytest.approx(expected, abs=1e-3)
    # What no edit reaches does the same beside it.
    moved = dict(zip(clean.senders, abs(edited.effect - clean.effect) > 1e-3, strict=True))
    still = [name for name in moved if name.startswith(("embed", "pos", "L0H")) or name.endswith("mlp")]
    assert [name for name in still if moved[name]] == ["L0H1"]


def test_a_run_that_nothing_keeps_runs_once_and_its_memory_is_free_at_once(
    gpt2_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(gpt2_model)
    opened = engine.open(session_of("zero L0H1", linear=True))
    assert opened.edited is not None
    kept, ids = list(engine.runner.store), opened.ids[:5]
    edits = opened.hook_edits_elsewhere(opened.session.edits[0], ids)
    expected = opened.run(ids, edits).logits()
    lengths: list[int] = []
    was = Runner.run

    def counted(self: Runner, ids: Ids, *rest: Any, **more: Any) -> Any:
        lengths.append(len(ids))
        return was(self, ids, *rest, **more)

    monkeypatch.setattr(Runner, "run", counted)
    engine.runner.store.forget()
    gc.disable()
    try:
        clean = opened.run_once(ids)
        edited = opened.run_once(ids, edits, clean)
        assert lengths == [5]
        assert torch.allclose(edited.logits(), expected, atol=1e-5)
        held = [ref(each.trace.held.model.clean) for each in (clean, edited)]
        del clean, edited
        assert [each() for each in held] == [None, None]
        assert not list(engine.runner.store)
        # So is that of a kept one once it is let go of.
        held = [ref(kept[0]), ref(kept[0].linear[-1])]
        del opened
        kept.clear()
        assert [each() for each in held] == [None, None]
    finally:
        gc.enable()


def test_patterns_of_one_text_are_kept_and_others_are_made_again(gpt2_model: Model) -> None:
    engine = Engine(gpt2_model)
    first = engine.open(session_of("zero L0H1", "cut L1H1 -1>0-3", linear=True))
    assert first.edited is not None
    expected = first.edited.logits()
    for prompt in ("When Mary", f"{first.session.prompt} a", first.session.prompt):
        opened = engine.open(session_of("zero L0H1", linear=True, prompt=prompt))
        assert opened.edited is not None
        holding = [
            trace.ids
            for trace in engine.runner.store
            if any(need.is_pattern for each in (trace, *trace.linear) for need in each.taken)
        ]
        assert holding == [opened.ids]
    assert torch.allclose(first.edited.with_edits(first.edited.edits[:1]).logits(), opened.edited.logits(), atol=1e-5)
    assert torch.equal(first.edited.logits(), expected)


def test_a_model_whose_parts_are_no_linear_maps_is_refused(gpt2_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    from mechtui.engine import weights

    real = weights.W_O
    monkeypatch.setattr(weights, "W_O", lambda bridge, layer: real(bridge, layer) * 1.1)
    with pytest.raises(SessionError, match="has no linear mode: attention of its layer 0"):
        _ = opened_on(gpt2_model, "zero L0H1").edited


def test_a_prompt_on_which_values_are_clamped_is_refused_after_others_that_were_not(tmp_path: Path) -> None:
    """A model may clamp its values: whether it does, another prompt decides."""
    model = load_now(make("olmo", tmp_path))
    prompts = ["When Mary", "When Mary and John went to the store, John gave a drink to", " the store the"]
    config = model.bridge.original_model.config
    config.clip_qkv = 1e6

    def largest(prompt: str) -> float:
        opened = Engine(model).open(session_of(prompt=prompt, source=""))
        hooks = [f"blocks.{layer}.attn.hook_v" for layer in range(opened.shape.n_layers)]
        return max(float(opened.clean.activation(hook).abs().max()) for hook in hooks)

    small, *_, large = sorted(prompts, key=largest)
    config.clip_qkv = (largest(small) + largest(large)) / 2
    engine = Engine(model)
    for _ in range(2):
        opened = engine.open(session_of("zero L0H1", prompt=small, source="", linear=True))
        assert opened.edited is not None
        assert torch.isfinite(opened.edited.logits()).all()
        with pytest.raises(SessionError, match="on this prompt values of its layer"):
            _ = engine.open(session_of("zero L0H1", prompt=large, source="", linear=True)).edited


def test_a_path_into_what_is_held_says_so(gpt2_model: Model) -> None:
    opened = opened_on(gpt2_model, answer=" Mary", foil=" John")
    for receiver, why in (("L1H2.q", "patterns are held"), ("L1H2.k", "patterns are held"), ("L1.mlp", "neurons")):
        with pytest.raises(SessionError, match=rf"in linear mode .*{why}.*no path into {receiver} does anything"):
            list(opened.answer(parse_question(f"path {receiver} cut")))
    *_, (clean, _, _) = opened.answer(parse_question("path L1H2.v cut"))
    assert abs(clean.effect).max() > 1e-3


def test_estimates_come_cell_by_cell_and_are_the_cells(gpt2_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "BATCH_TOKENS", 40)
    opened = opened_on(gpt2_model, "zero L0H1", answer=" Mary", foil=" John")
    known = []
    for clean, edited, more in opened.answer(parse_question("sweep zero L*.mlp estimate")):
        assert np.isnan(clean.values).all()
        known.append(sum(int(np.isfinite(each.estimates).sum()) for each in (clean, edited)))
        assert more == (known[-1] < 2 * clean.values.size)
    assert known[0] == 0
    assert len(known) > 4
    *_, (exact, also, _) = opened.answer(parse_question("sweep zero L*.mlp"))
    np.testing.assert_array_equal(clean.estimates, exact.values)
    np.testing.assert_array_equal(edited.estimates, also.values)


def test_what_linear_runs_hold_counts_in_the_budget(gpt2_model: Model) -> None:
    """Of many prompts and edits no more is kept than the budget, but for the two that are at work."""
    engine = Engine(gpt2_model)
    store = engine.runner.store
    for number in range(6):
        opened = engine.open(
            session_of(f"scale L0H1 x{number}", linear=True, prompt=f"When Mary{' and John' * number}")
        )
        assert opened.edited is not None
        for layer in range(opened.shape.n_layers):
            opened.edited.activation(f"blocks.{layer}.hook_attn_out")
        assert store._at_most >= store.bytes
        if number == 2:
            store.budget = store.bytes
        if number > 2:
            assert len(store) == 2 or store.bytes <= store.budget


def test_all_kinds_of_blocks_give_the_same(model: Model) -> None:
    session = session_of("zero L0H1", "add L1.pre v x2", "cut L1H1 -1>0-3", linear=True, vectors=VECTORS)
    found = Engine(model).open(session).edited
    assert found is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kinds, "KINDS", {})
        bridged = Engine(model).open(session).edited
    assert bridged is not None
    assert (found.logits() - bridged.logits()).abs().max() < 1e-4
