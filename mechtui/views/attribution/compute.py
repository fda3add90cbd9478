"""Direct logit attribution: each write to one position's residual, through the final norm and W_U."""

from __future__ import annotations

import numpy as np
import torch
from msgspec.structs import replace

from mechtui.engine import ablations
from mechtui.engine.ablations import Ablation, Ablations
from mechtui.engine.api import CLEAN, EDITED, Answers, Need, Numbers, OpenSession, Run, together
from mechtui.engine.ledger import (
    Direction,
    Ledger,
    direction,
    mlp_need,
    neuron_need,
    pattern_need,
    value_need,
    z_need,
)
from mechtui.none import NONE
from mechtui.session.document import Site, Span, Token
from mechtui.views.attribution import (
    REST,
    Ablated,
    Attribution,
    AttributionAnswer,
    Components,
    Neurons,
    Repair,
    Sources,
)
from mechtui.views.over import Over


def needs(question: Attribution, opened: OpenSession) -> list[Need]:
    shape = opened.shape
    position = opened.position(question.position)
    if question.measured and question.site is not None:
        return ablations.needs(None, opened, position)
    if question.site is None:
        embedding = [Need("hook_pos_embed", "at", position)] if shape.has_pos else []
        mlps = [mlp_need(layer, position) for layer in range(shape.n_layers)] if shape.d_mlp else []
        means = ablations.needs(_ablation(question, position), opened, position) if question.measured else []
        return embedding + [z_need(layer, position) for layer in range(shape.n_layers)] + mlps + means
    layer, head = question.site.layers.first, question.site.index.first
    if question.site.kind == "head":
        if layer >= shape.n_layers or head >= shape.n_heads:
            return []
        group = head * shape.n_kv_heads // shape.n_heads
        return [z_need(layer, position), pattern_need(layer, position), value_need(layer, group)]
    if layer >= shape.n_layers or not (shape.d_mlp and shape.has_neurons):
        return []
    return [neuron_need(layer, position), mlp_need(layer, position)]


def answers(question: Attribution, opened: OpenSession) -> Answers:
    if question.over:
        yield from _over_cases(question, opened)
        return
    position = opened.position(question.position)
    site = question.site
    if site is not None:
        opened.check_site(site)
    along = direction(opened, position, question.answer)
    ablation = _ablation(question, position)
    if site is not None and ablation is not None:
        repaired = [_repair(run, opened, position, along, ablation, site) for run in _runs(opened)]
        yield repaired[0], repaired[1] if len(repaired) > 1 else None, False
        return
    if site is not None and site.kind == "layer":
        opened.check_site(Site("neuron", site.layers, Span(0, 0)))
        yield *_neurons(opened, position, along, site.layers.first, question.top), False
        return

    def answer(run: Run) -> AttributionAnswer:
        ledger = Ledger(run, opened, position, along)
        if site is None:
            return _answer(ledger, _writes(ledger), ledger.total)
        tokens, attention, bias, edits = ledger.sources(site.layers.first, site.index.first)
        total = float(tokens.sum()) + bias + edits
        _check(ledger, edits, f"what L{site.layers.first}H{site.index.first} reads")
        by_token, weights = together([tokens, attention]).numpy()
        return _answer(ledger, Sources(by_token, weights, bias, edits if run.edits else 0.0), total)

    def known(run: Run) -> AttributionAnswer:
        # While edits change, the clean run's answer stays.
        key = (question.unmeasured(), along.answer, along.foil)
        return run.remembered(Attribution, key, lambda: answer(run))

    if ablation is None:
        yield known(opened.clean), None if opened.edited is None else known(opened.edited), False
        return
    every = [(known(run), Ablations(run, opened, position, along, ablation)) for run in _runs(opened)]

    def now() -> tuple[AttributionAnswer, AttributionAnswer | None, bool]:
        said = [replace(plain, ablated=_ablated(question, each)) for plain, each in every]
        return said[0], said[1] if len(said) > 1 else None, any(each.missing for _, each in every)

    yield now()
    for _, each in reversed(every):
        for _ in each.fill():
            opened.progress(sum(one.done for _, one in every) / sum(one.runs for _, one in every))
            yield now()


def _over_cases(question: Attribution, opened: OpenSession) -> Answers:
    shape = opened.shape
    heads = shape.n_layers * shape.n_heads

    def numbers(case: OpenSession, run: Run) -> Numbers:
        """Of one case: its writes, as `AttributionAnswer.means` has them."""
        position = case.position(question.position)
        ledger = Ledger(run, case, position, direction(case, position, question.answer))
        means = _answer(ledger, _writes(ledger), ledger.total).means
        return {"writes": means, "rounding": np.array(ledger.rounding)}

    over = opened.over_each(question, numbers)
    size = heads + shape.n_layers + len(REST)

    def answer(run: int) -> AttributionAnswer:
        each = over.table(run, "writes", (size,))
        means, said = Over.made(over.of, over.cases, over.problems(run), each, over.asked(run))
        rest = dict(zip(REST, map(float, means[-len(REST) :]), strict=True))
        total = rest.pop("total")
        by_head = means[:heads].reshape(shape.n_layers, shape.n_heads)
        parts = Components(by_head, means[heads : heads + shape.n_layers], **rest)
        foil = None if question.answer else Token(-1, "foil")
        rounding = over.mean(run, "rounding") or 0.0
        return AttributionAnswer(question.position, Token(-1, "answer"), foil, False, parts, total, rounding, over=said)

    def both() -> tuple[AttributionAnswer, AttributionAnswer | None]:
        return answer(CLEAN), answer(EDITED) if over.edited else None

    for _ in over.parts():
        yield *both(), True
    yield *both(), False


def _runs(opened: OpenSession) -> list[Run]:
    return [run for run in (opened.clean, opened.edited) if run is not None]


def _ablation(question: Attribution, position: int) -> Ablation | None:
    return Ablation(question.measured, position if question.here else None) if question.measured else None


def _ablated(question: Attribution, each: Ablations) -> Ablated:
    direct, measured, frozen = each.table
    measured, frozen = (np.where(np.isinf(values), np.float32(np.nan), values) for values in (measured, frozen))
    return Ablated(question.measured, question.here, direct, measured, frozen)


def _repair(
    run: Run, opened: OpenSession, position: int, along: Direction, ablation: Ablation, site: Site
) -> AttributionAnswer:
    found = ablations.changes(run, opened, position, along, ablation, site)
    none = np.full(opened.shape.n_layers, NONE, np.float32)
    mlps = none if found.mlps is None else found.mlps
    here = ablation.at is not None
    parts = Repair(ablation.op, here, found.heads, mlps, found.bias, found.edits, found.norm, found.direct)
    return _answer(Ledger(run, opened, position, along), parts, found.total)


def _writes(ledger: Ledger) -> Components:
    shape, run, position = ledger.opened.shape, ledger.run, ledger.position
    read = [ledger.heads(layer) for layer in range(shape.n_layers)]
    heads = together([each for each, _ in read])
    bias = float(together([fixed for _, fixed in read]).sum()) + ledger.fixed
    mlps = together([ledger.mlp(layer) for layer in range(shape.n_layers)]) if shape.d_mlp else None
    pos = float(ledger.read(run.take(Need("hook_pos_embed", "at", position)))) if shape.has_pos else 0.0
    # What enters block 0 is what the model makes of its embeddings, be it a norm or a projection.
    embed = float(ledger.read(run.resid_at(0, position))) - pos
    named = float(heads.sum()) + (0.0 if mlps is None else float(mlps.sum())) + embed + pos + bias
    ledger.check(ledger.total - ledger.shown, "attribution")
    edits = ledger.total - named
    _check(ledger, edits, "attribution")
    return Components(
        heads.numpy(),
        np.full(shape.n_layers, NONE, np.float32) if mlps is None else mlps.numpy(),
        embed,
        pos,
        bias,
        edits if run.edits else 0.0,
    )


def _check(ledger: Ledger, missing: float, what: str) -> None:
    """Raises SessionError where the parts of a run without edits miss their sum."""
    if not ledger.run.edits:
        ledger.check(missing, what)


def _neurons(
    opened: OpenSession, position: int, along: Direction, layer: int, top: int
) -> tuple[AttributionAnswer, AttributionAnswer | None]:
    """Clean and edited, of the same neurons: those strongest in either run, or in what differs between them."""
    runs = [run for run in (opened.clean, opened.edited) if run is not None]
    ledgers = [Ledger(run, opened, position, along) for run in runs]
    read = [ledger.neurons(layer) for ledger in ledgers]
    by_run = torch.stack([each.cpu() for each, *_ in read])
    strength = torch.cat([by_run, by_run.diff(dim=0)]).abs().amax(0)
    best = strength.topk(min(top, len(strength))).indices

    def answer(number: int) -> AttributionAnswer:
        ledger, (every, active, bias, edits) = ledgers[number], read[number]
        _check(ledger, edits, f"L{layer}.mlp")
        values, whole = by_run[number, best], float(every.sum())
        parts = Neurons(
            tuple(best.tolist()),
            values.numpy(),
            active.cpu()[best].numpy(),
            whole - float(values.sum()),
            bias,
            edits if runs[number].edits else 0.0,
        )
        return _answer(ledger, parts, whole + bias + edits)

    return answer(0), answer(1) if len(runs) > 1 else None


def _answer(ledger: Ledger, parts: Components | Sources | Neurons | Repair, total: float) -> AttributionAnswer:
    opened, along = ledger.opened, ledger.direction
    token = opened.token
    return AttributionAnswer(
        ledger.position,
        token(along.answer),
        None if along.foil is None else token(along.foil),
        opened.auto,
        parts,
        total,
        ledger.rounding,
    )
