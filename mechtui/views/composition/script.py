"""Composition of all pairs of heads, from each head's matrices."""

from __future__ import annotations

from mechtui.views.composition import Composition
from mechtui.views.script import THROUGH, Around

# The numbers are the model's: no edit changes them.
EACH_RUN = False

# What the later head reads by, and what stands behind it in the product: |W_V W_O . reads . behind^T|.
PARTS = {"Q": ("Q[l]", "K[l]"), "K": ("K[l]", "Q[l]"), "V": ("V[l]", "O[l].mT")}


def lines(question: Composition, around: Around) -> list[str]:
    reads, behind = PARTS[question.kind]
    shape = around.shape
    return [
        *THROUGH,
        "def read(block, weight):",
        "    # [head, d_model, d_head], with the norm's weight and centring; of grouped heads each its group's",
        f"    weight = weight.repeat_interleave({shape.n_heads} // len(weight), dim=0)",
        '    return through(getattr(block, "ln1", None), weight.mT).mT',
        "",
        "def triangle(weight):",
        "    # As long as the whole in every product, and smaller",
        '    return torch.linalg.qr(weight, mode="r").R',
        "",
        'Q, K, V = ([read(b, getattr(b.attn, f"W_{name}")) for b in bridge.blocks] for name in "QKV")',
        'O = [through(getattr(block, "ln1_post", None), block.attn.W_O) for block in bridge.blocks]',
        "OV = [triangle(v) @ o for v, o in zip(V, O)]",
        f"later = [{reads} @ triangle({behind}).mT for l in range({shape.n_layers})]",
        "",
        "def composed(early, late):",
        "    # [late head, early head]: the norm of each product over the product of the norms",
        '    products = torch.einsum("edm,lmk->ledk", early, late).norm(dim=(-2, -1))',
        "    return products / (late.norm(dim=(-2, -1))[:, None] * early.norm(dim=(-2, -1)))",
        "",
        f"heads = {shape.n_heads}",
        f"values = torch.full(({shape.n_layers * shape.n_heads},) * 2, torch.nan)",
        f"for l in range({shape.n_layers}):",
        "    for e in range(l):",
        "        values[l * heads : (l + 1) * heads, e * heads : (e + 1) * heads] = composed(OV[e], later[l])",
        "",
        "# What random matrices of this shape give",
        "generator = torch.Generator().manual_seed(0)",
        f"some = [torch.randn(24, {shape.d_model}, {shape.d_head}, generator=generator) for _ in range(4)]",
        "random = composed(triangle(some[0]) @ some[1].mT, (triangle(some[2]) @ some[3].mT).mT)",
        "return {",
        f'    "kind": "{question.kind}",',
        f'    "heads": [f"L{{l}}H{{h}}" for l in range({shape.n_layers}) for h in range({shape.n_heads})],',
        '    "values": values - random.mean(),',
        '    "baseline": random.mean().item(),',
        '    "spread": random.std().item(),',
        "}",
    ]
