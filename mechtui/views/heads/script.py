"""One number for every head, from all layers' patterns or from what the heads write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from mechtui.session.document import Swept
from mechtui.session.sweeps import of_heads
from mechtui.views import over_script
from mechtui.views.attribution.script import heads_of
from mechtui.views.heads import NO_SWEEP, OF_MODEL, Heads
from mechtui.views.scores.script import copied, measured
from mechtui.views.script import Around, ScriptError
from mechtui.views.sweep import Sweep
from mechtui.views.sweep.script import share_of, swept


def omits(question: Heads) -> Sequence[str]:
    # The question says where.
    return ("position", *over_script.OMITS) if question.over else ("position",)


def each_run(question: Heads) -> bool:
    # The others belong to the model, or to the session as it is; edits are of each case's own positions, which no
    # program has.
    return question.summary not in (*OF_MODEL, "sweep") and not question.over


def lines_of(question: Heads, around: Around, answers: tuple[Mapping[str, Any] | None, Any]) -> list[str]:
    if not question.over or answers[0] is None:
        return lines(question, around)
    alone = replace(question, over=False)
    return [
        *over_script.of_cases(answers[0], around, lambda case: lines(alone, case), "values"),
        *over_script.summed(),
        *over_script.returned("values", [("summary", f'"{question.summary}"')]),
    ]


def looser(question: Heads, around: Around, answer: Mapping[str, Any]) -> float:
    if question.summary != "sweep":
        return 1.0
    made = _made(around)
    return share_of(made.metric, made.baseline, made.source_baseline)


def lines(question: Heads, around: Around) -> list[str]:
    if question.over:
        raise ScriptError(over_script.NOT_KNOWN)
    position = around.position(question.position)
    layers = f"for layer in range({around.shape.n_layers})"
    match question.summary:
        case "attribution":
            body, values = heads_of(position, around), "heads"
        case "sweep":
            body, values = _sweep(around), "values"
        case "copying":
            body, values = copied(around), "copying"
        case "induction" | "previous" | "duplicate":
            body, values = measured(around), question.summary
        case "norm":
            body = [
                f'z = torch.stack([cache[f"blocks.{{layer}}.attn.hook_z"][0, {position}].float() {layers}])',
                f"W_O = torch.stack([bridge.blocks[layer].attn.W_O.float() {layers}])",
                'written = torch.einsum("lhd,lhdm->lhm", z, W_O)',
            ]
            values = "written.norm(dim=-1)"
        case "entropy" | "first":
            body = [
                f'patterns = torch.stack([cache[f"blocks.{{layer}}.attn.hook_pattern"][0, :, {position}] {layers}])'
            ]
            values = (
                "torch.special.entr(patterns.clamp_min(0)).sum(-1)"
                if question.summary == "entropy"
                else "patterns[:, :, 0]"
            )
    return [*body, f'return {{"summary": "{question.summary}", "values": {values}}}']


def _sweep(around: Around) -> list[str]:
    """The last sweep over all heads of the session as it is, made again. Raises ScriptError."""
    made = _made(around)
    return ["logits, cache, fwd_hooks = runs[-1]  # as edited as the session is", *swept(Sweep(made.edit), around)]


def _made(around: Around) -> Swept:
    """The last sweep over all heads. Raises ScriptError."""
    session, shape = around.session, around.shape
    made = of_heads(session.sweeps, session, shape.n_layers, shape.n_heads)
    if made is None:
        raise ScriptError(NO_SWEEP)
    if made.done < made.runs:
        raise ScriptError("the last sweep over all heads was stopped before it was done: start it again")
    return made
