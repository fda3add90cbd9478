"""Norms of the cached residual stream, and of what was written to it."""

from __future__ import annotations

from mechtui.views.residual import Residual
from mechtui.views.script import Around


def lines(question: Residual, around: Around) -> list[str]:
    count = around.shape.n_layers
    every = f"for layer in range({count})"
    mlp = 'norms("mlp_out")' if around.shape.d_mlp else f"torch.full(({count}, len(tokens)), torch.nan)"
    return [
        "def norms(what):",
        f'    every = [cache[f"blocks.{{layer}}.hook_{{what}}"][0] {every}]',
        "    return torch.stack(every).norm(dim=-1)",
        "",
        f'last = cache["blocks.{count - 1}.hook_resid_post"][0].norm(dim=-1)',
        "return {",
        f'    "sites": [*(f"L{{layer}}.pre" {every}), "L{count - 1}.post"],',
        '    "norm": torch.cat([norms("resid_pre"), last[None]]),',
        '    "attn": norms("attn_out"),',
        f'    "mlp": {mlp},',
        "}",
    ]
