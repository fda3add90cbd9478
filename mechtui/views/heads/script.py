"""One number for every head, from all layers' patterns or from what the heads write."""

from __future__ import annotations

from mechtui.session.script import ScriptError
from mechtui.views.heads import Heads
from mechtui.views.script import Around

NUMBERS = {
    "entropy": "torch.special.entr(patterns).sum(-1)",
    "first": "patterns[:, :, 0]",
    "norm": "written.norm(dim=-1)",
}


def lines(question: Heads, around: Around) -> list[str]:
    if question.summary not in NUMBERS:
        raise ScriptError(f"no program computes {question.summary} of all heads")
    position = around.position(question.position)
    cached, picked = ("hook_z", f"{position}, :") if question.summary == "norm" else ("hook_pattern", f":, {position}")
    each = f'cache[f"blocks.{{layer}}.attn.{cached}"][0, {picked}]'
    layers = f"for layer in range({around.shape.n_layers})"
    if question.summary == "norm":
        what = [
            f"z = torch.stack([{each} {layers}])",
            f"W_O = torch.stack([bridge.blocks[layer].attn.W_O {layers}])",
            'written = torch.einsum("lhd,lhdm->lhm", z, W_O)',
        ]
    else:
        what = [f"patterns = torch.stack([{each} {layers}])"]
    numbers = NUMBERS[question.summary]
    return [*what, f'return {{"summary": "{question.summary}", "position": {position}, "values": {numbers}}}']
