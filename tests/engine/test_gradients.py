"""Estimates of what edits do, beside gradients of plain modules, finite differences and TransformerLens's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformer_lens.tools.analysis.attribution_patching import attribution_patch
from transformers import AutoModelForCausalLM

from mechtui.engine.api import Cancelled, Engine, Metric, NoGradientError, OpenSession, Towards
from mechtui.engine.forward.fast_blocks import kinds
from mechtui.engine.model import Model
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.places import format_site
from mechtui.views import parse_question
from mechtui.views.sweep import Sweep
from mechtui.views.sweep.compute import _sites
from tests import folders
from tests.engine import reference
from tests.engine.conftest import load_now
from tests.engine.twin import LONGER, Twin, make_twin, session_of

HEADS = ("z", "q", "k", "v", "pattern", "scores")
STREAM = ("pre", "attn", "mid", "mlp", "post")


def swept(opened: OpenSession, line: str, steps: int = 0) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """(estimates, (layer, head or position) of each)."""
    question = parse_question(f"sweep {line}")
    assert isinstance(question, Sweep)
    sites = _sites(question, opened)
    run = opened.edited or opened.clean
    last = len(opened.ids) - 1
    answer, foil = opened.targets_at(last)
    assert answer is not None
    assert foil is not None
    towards = Towards(opened.source_ids, opened.alignment, steps) if steps else None
    found = run.estimates(sites.edits, Metric(answer, foil, last), towards)
    return found, [(sites.layers[row], sites.columns[column]) for row, column in sites.places]


def difference(opened: OpenSession) -> Any:
    answer, foil = opened.targets_at(len(opened.ids) - 1)
    return lambda logits: logits[-1, answer] - logits[-1, foil]


def share(part: str, gradient: Tensor, change: Tensor, column: int) -> float:
    """Of one cell: of a head, or of a position."""
    product = gradient * torch.nan_to_num(change, 0, 0, 0)
    if part in ("pattern", "scores"):
        return float(product[column].sum())
    return float((product[:, column] if part in HEADS else product[column]).sum())


@pytest.fixture(params=["gpt2", "llama", "attention-only"])
def pair(request: pytest.FixtureRequest, blocks: str, tmp_path: Path) -> tuple[Model, Any]:
    """A model, and the same weights in their own class."""
    if request.param == "attention-only":
        folder, plain = folders.attention_only(tmp_path, 2)
        return load_now(folder, directly=blocks == "direct"), plain
    folder = request.getfixturevalue(f"{request.param}_folder")
    model = request.getfixturevalue(f"{request.param}_model")
    return load_now(folder, directly=True) if blocks == "direct" else model, AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    ).eval()


@pytest.mark.parametrize("longer", [False, True])
def test_every_site_is_estimated_as_gradients_of_plain_modules_say(pair: tuple[Model, Any], longer: bool) -> None:
    model, plain = pair
    source = {"source": LONGER} if longer else {}
    opened = Engine(model).open(session_of(**source))
    of = difference(opened)
    here, gradients = reference.gradients(plain, opened.ids, of)
    there, _ = reference.gradients(plain, opened.source_ids, of)
    partners = list(opened.alignment)
    for part in (*HEADS, *STREAM):
        if (part, 0) not in here or (part == "mid" and ("mlp", 0) not in here):
            continue  # attention alone
        tables = part in ("pattern", "scores")
        sites = "L*H*" if part in HEADS else "L*"
        for op in ("zero", "mean", "patch"):
            if tables and op == "patch" and longer:
                continue  # a table of another length: see the ops' own tests
            found, places = swept(opened, f"{op} {sites}.{part}")
            for value, (layer, column) in zip(found, places, strict=True):
                x = here[part, layer]
                if op == "zero":
                    new = torch.zeros_like(x)
                    new = torch.where(x > -torch.inf, new, x) if part == "scores" else new
                elif op == "patch":
                    new = there[part, layer] if tables else there[part, layer][partners]
                    if not tables:
                        new = torch.where(torch.tensor(partners).view(-1, *[1] * (x.dim() - 1)) < 0, x, new)
                elif tables:
                    seen = here["scores", layer] > -torch.inf
                    mean = torch.where(seen, x, 0).sum(-1, keepdim=True) / seen.sum(-1, keepdim=True)
                    new = torch.where(seen, mean, x)
                else:
                    new = x.mean(0, keepdim=True).expand_as(x)
                expected = share(part, gradients[part, layer], new - x, column)
                scale = max(1.0, float(np.abs(found).max()))
                assert value == pytest.approx(expected, abs=2e-4 * scale), (op, part, layer, column)
            assert np.abs(found).max() > 1e-3, f"{op} {part}: nothing was tested"


EDITS = ("scale L0H1 x0.5", "zero L1.mlp @2", "scale L1H2.pattern @-1 x2", "add L1.pre w x3", "scale L0.mid x1.2")


@pytest.mark.parametrize("line", ["L*H*", "L*H*.k", "L1H*.pattern", "L*.pre", "L*.mid", "L*.mlp"])
@pytest.mark.parametrize("shape", ["gpt2", "llama"])
def test_behind_edits_it_is_the_slope_of_the_edited_run(
    shape: str, line: str, blocks: str, request: pytest.FixtureRequest
) -> None:
    """A finite difference: the edited run with the site a little larger and a little smaller."""
    model: Model = request.getfixturevalue(f"{shape}_model")
    if blocks == "direct":
        model = load_now(request.getfixturevalue(f"{shape}_folder"), directly=True)
    opened = Engine(model).open(session_of(*EDITS, vectors=("w = neuron L0N3",)))
    assert not opened.problems
    found, places = swept(opened, f"zero {line}")
    run = opened.edited
    assert run is not None
    last = len(opened.ids) - 1
    of = difference(opened)
    for value, (layer, column) in list(zip(found, places, strict=True))[:: max(1, len(places) // 8)]:
        question = parse_question(f"sweep zero {line}")
        assert isinstance(question, Sweep)
        cell = question.cell(layer, column)
        where = format_site(cell.site) + (f" @{column}" if cell.site.kind == "layer" else "")
        sized = []
        for factor in (0.95, 1.05):
            edits = opened.hook_edits_of(parse_edit(f"scale {where} x{factor}"), opened.ids, True)
            sized.append(float(of(run.variants([(*run.edits, *edits)], last)[0][None])))
        slope = (sized[1] - sized[0]) / 0.1
        assert -value == pytest.approx(slope, abs=0.02 * max(0.5, abs(slope))), where


@pytest.fixture(params=["gpt2", "llama"])
def twin(request: pytest.FixtureRequest) -> Twin:
    return make_twin(request)


def test_patches_are_estimated_as_transformerlens_does(twin: Twin) -> None:
    opened = twin.engine.open(session_of())
    of = difference(opened)
    clean, corrupt = (torch.tensor([list(ids)]) for ids in (opened.source_ids, opened.ids))
    twin.bridge.original_model.requires_grad_(True)
    try:
        scores = attribution_patch(twin.bridge, clean, corrupt, lambda logits: of(logits[0])).node_scores
    finally:
        twin.bridge.original_model.requires_grad_(False)
    heads, places = swept(opened, "patch L*H*")
    mlps, positions = swept(opened, "patch L*.mlp")
    # Theirs are one for each position, ours of a head are of all positions.
    of_heads = dict.fromkeys(places, 0.0)
    for node, score in scores.items():
        if node.kind == "attn_head_out":
            of_heads[node.layer, node.head] += score  # type: ignore[index]
    np.testing.assert_allclose(heads, [of_heads[place] for place in places], atol=2e-4)
    of_mlps = {(node.layer, node.position): score for node, score in scores.items() if node.kind == "mlp_out"}
    np.testing.assert_allclose(mlps, [of_mlps[place] for place in positions], atol=2e-4)


def test_integrated_gradients_are_the_mean_over_inputs_between_both(twin: Twin) -> None:
    opened = twin.engine.open(session_of(source=LONGER))
    of = difference(opened)
    partners = torch.tensor(opened.alignment)
    here, _ = reference.gradients(twin.plain, opened.ids, of)
    there, _ = reference.gradients(twin.plain, opened.source_ids, of)
    first = here["pre", 0]
    end = torch.where(partners[:, None] < 0, first, there["pre", 0][partners])
    steps = 100  # more than fit into one batch
    means: dict[Any, Tensor] = {}
    for step in range(steps):
        between = first + (step + 0.5) / steps * (end - first)
        for place, gradient in reference.gradients(twin.plain, opened.ids, of, between)[1].items():
            means[place] = means.get(place, torch.zeros(())) + gradient / steps
    for part, line in (("z", "L*H*"), ("mlp", "L*.mlp"), ("pre", "L*.pre")):
        found, places = swept(opened, f"patch {line}{'' if part != 'z' else '.z'}", steps)
        for value, (layer, column) in zip(found, places, strict=True):
            x = here[part, layer]
            new = there[part, layer][partners]
            new = torch.where(partners.view(-1, *[1] * (x.dim() - 1)) < 0, x, new)
            assert value == pytest.approx(share(part, means[part, layer], new - x, column), abs=5e-4)
    # Over the whole input they add up to what the whole input changes.
    whole = float(swept(opened, "patch L0.pre", steps)[0].sum())
    ends = [float(of(reference.run(twin.plain, opened.ids, forward=_from(twin.plain, x))[0])) for x in (first, end)]
    assert whole == pytest.approx(ends[1] - ends[0], abs=0.01 * max(1.0, abs(ends[1] - ends[0])))


def _from(plain: Any, pre: Tensor) -> Any:
    def forward(ids: Tensor, act: Any) -> Tensor:
        def replaced(name: str, layer: int, x: Tensor) -> Tensor:
            return act(name, layer, pre if (name, layer) == ("pre", 0) else x)

        return reference._forward(reference.parts_of(plain), ids, replaced)

    return forward


def test_nothing_of_the_way_back_is_kept(gpt2_model: Model) -> None:
    engine = Engine(gpt2_model)
    opened = engine.open(session_of())
    first, _ = swept(opened, "patch L*H*.pattern")
    source = engine.runner.store.known(opened.source_ids, ())
    assert source is not None
    assert not [need for need in source.taken if need.is_pattern]
    held = [tensor for trace in engine.runner.store for tensor in trace.tensors()]
    assert held
    assert not [tensor for tensor in held if tensor.requires_grad or tensor.grad_fn is not None]
    assert not [p for p in gpt2_model.bridge.parameters() if p.requires_grad or p.grad is not None]
    again, _ = swept(opened, "patch L*H*.pattern")
    assert again is first, "the same question is not computed twice"


def test_it_stops_between_two_blocks_once_it_is_not_wanted(gpt2_model: Model) -> None:
    asked: list[None] = []

    def cancelled() -> bool:
        asked.append(None)
        return len(asked) > limit

    limit = 10**6
    opened = Engine(gpt2_model).open(session_of(), cancelled)
    assert opened.clean.resid(0) is not None
    limit = len(asked) + 1
    with pytest.raises(Cancelled):
        swept(opened, "zero L*H*")


@pytest.mark.parametrize("shape", ["gpt2", "llama"])
def test_in_half_precision_it_is_that_of_float32_to_its_rounding(shape: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(f"{shape}_folder")
    exact, _ = swept(Engine(load_now(folder)).open(session_of(answer=" Mary", foil=" John")), "zero L*H*")
    half, _ = swept(
        Engine(load_now(folder, dtype="bfloat16")).open(session_of(answer=" Mary", foil=" John")), "zero L*H*"
    )
    assert np.corrcoef(exact, half)[0, 1] > 0.99


def test_blocks_without_gradients_are_refused_in_one_sentence(
    gpt2_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds, "KINDS", {})
    opened = Engine(gpt2_model).open(session_of())
    assert opened.clean.resid(0) is not None
    gate = gpt2_model.bridge.blocks[1].mlp.original_component

    class Whole(torch.autograd.Function):
        """What a kernel of a quantised model is: a result, and no way back."""

        @staticmethod
        def forward(_context: Any, x: Tensor) -> Tensor:
            return x * 1.0

        @staticmethod
        def backward(_context: Any, *_: Tensor) -> Tensor:
            raise RuntimeError("derivative for some::kernel is not implemented")

    was = gate.act.forward
    monkeypatch.setattr(gate.act, "forward", lambda x: Whole.apply(was(x)))
    with pytest.raises(NoGradientError, match=r"^nothing is estimated of .*: its blocks cannot be gone back through$"):
        swept(opened, "zero L*H*")
    # The runs themselves are as they were.
    assert opened.clean.activation("blocks.1.hook_mlp_out").isfinite().all()


def test_what_no_gradient_reaches_is_refused_and_nothing_takes_nothing(gpt2_model: Model) -> None:
    opened = Engine(gpt2_model).open(session_of())
    metric = Metric(0, 1, len(opened.ids) - 1)
    assert opened.clean.estimates([], metric).shape == (0,)
    for line, said in (("zero embed", "at the embeddings"), ("cut-path L0H1>L1H0.v", "no path is estimated")):
        cell = opened.possible_hook_edits(parse_edit(line))
        assert cell
        with pytest.raises(NoGradientError, match=said):
            opened.clean.estimates([cell], metric)
