"""Composition of all pairs of heads, from each head's matrices, and what each wrote of what the other reads here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mechtui.views.composition import Composition
from mechtui.views.script import THROUGH, Around, NoHookError, quoted

# What the later head reads by, and what stands behind it in the product: |W_V W_O . reads . behind^T|.
PARTS = {"Q": ("Q[l]", "K[l]"), "K": ("K[l]", "Q[l]"), "V": ("V[l]", "O[l].mT")}


def lines_of(question: Composition, around: Around, answers: Sequence[Mapping[str, Any] | None]) -> list[str]:
    return lines(question, around, next((each["refused"] for each in answers if each), ""))


def lines(question: Composition, around: Around, refused: str = "") -> list[str]:
    """refused: why nothing was told of the prompt; empty where something was."""
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
        *([] if refused else _here(question, around)),
        "return {",
        f'    "kind": "{question.kind}",',
        f'    "heads": [f"L{{l}}H{{h}}" for l in range({shape.n_layers}) for h in range({shape.n_heads})],',
        '    "values": values - random.mean(),',
        '    "baseline": random.mean().item(),',
        '    "spread": random.std().item(),',
        f'    "query": {around.position(question.position)},',
        *(f'    "{name}": {None if refused else name},' for name in ("keys", "contribution", "score")),
        f'    "refused": {quoted(refused)},',
        "}",
    ]


def _here(question: Composition, around: Around) -> list[str]:
    """Lines after which `keys`, `contribution` and `score` are those of the run."""
    session, shape, kind = around.session, around.shape, question.kind
    part = kind.lower()
    ends = (edit.on and edit.sender is not None and edit.site.part == part for edit in session.edits)
    if any(ends):
        raise NoHookError(
            f"an edit cuts or patches a path that ends in {part}, and the program tells what is read without"
        )
    query, group = around.position(question.position), shape.n_heads // shape.n_kv_heads
    rows = 'torch.cat([clean[f"blocks.{l}.attn.hook_pattern"][0, :, query].argmax(-1)'
    keys = f"{rows} for l in range({shape.n_layers})]).tolist()"
    if question.key is not None:
        keys = f"[{around.position(question.key)}] * {shape.n_layers * shape.n_heads}"
    of_clean = ["cache, fwd_hooks = clean, []  # patterns are held, and so is what makes them"]
    index = "h" if kind == "Q" else f"h // {group}"
    set_there = _set_there(around, part)
    return [
        *(of_clean if session.linear and kind != "V" else []),
        "# What each earlier head wrote of what a later one reads here, its norm's scale held",
        f"query, at = {query}, range({shape.n_heads})",
        f"keys = {keys}",
        *([] if kind == "V" else _slopes(around)),
        "",
        "def wrote(position):",
        "    # [head, d_model], heads counted through the layers",
        '    z = [cache[f"blocks.{e}.attn.hook_z"][0, position].float() for e in range(len(bridge.blocks))]',
        '    return torch.cat([torch.einsum("hd,hdm->hm", e, b.attn.W_O.float()) for e, b in zip(z, bridge.blocks)])',
        "",
        f"places = {'[query] * len(keys)' if kind == 'Q' else 'keys'}",
        "writes = {position: wrote(position) for position in set(places)}",
        "contribution, score = torch.full_like(values, torch.nan), torch.full((len(keys),), torch.nan)",
        *([f"set_there = {set_there}  # by edits, at these positions"] if set_there else []),
        f"for later in range({shape.n_heads}, len(keys)):",
        f"    l, h = divmod(later, {shape.n_heads})",
        "    position, key = places[later], keys[later]",
        *_slope(kind, around, group),
        f"    reads = bridge.blocks[l].attn.W_{kind}[{index}].float() @ slope",
        f'    stream = {"clean" if session.linear else "cache"}[f"blocks.{{l}}.hook_resid_pre"][0, position].float()',
        "    stream = stream - stream.mean() if centres else stream",
        "    reads = through(bridge.blocks[l].ln1, reads) / (stream.pow(2).mean() + bridge.cfg.eps).sqrt()",
        f"    contribution[later, : l * {shape.n_heads}] = writes[position][: l * {shape.n_heads}] @ reads",
        *(["    contribution[later] += score[later] * 0  # nan where the query does not see the key"] * (kind != "V")),
        *(
            [
                f"    if fwd_hooks and position in set_there.get((l, {index}), ()):",
                "        contribution[later] = torch.nan",
            ]
            if set_there
            else []
        ),
        "",
    ]


def _set_there(around: Around, part: str) -> dict[tuple[int, int], list[int]]:
    """(layer, query head or group) -> positions at which an edit gives what the head reads by this part."""
    found: dict[tuple[int, int], set[int]] = {}
    for edit, made in zip(around.session.edits, around.made, strict=True):
        for each in made if edit.on and isinstance(made, tuple) else ():
            if each.hook.endswith(f".attn.hook_{part}"):
                for index in each.index or ():
                    found.setdefault((each.layer, index), set()).update(each.positions)
    return {place: sorted(positions) for place, positions in found.items()}


def _slopes(around: Around) -> list[str]:
    """Lines after which `scores` has each later layer's, [head], and `held` what they are to be gone back to."""
    if around.native:
        return []
    shape = around.shape
    return [
        "held, scores = {}, {}",
        "",
        "def hold(place):",
        "    def look(x, hook):",
        "        held[place] = x.detach().requires_grad_()",
        "        return held[place]",
        "",
        "    return look",
        "",
        "def note(l):",
        "    def look(x, hook):",
        f"        scores[l] = x[0, at, query, keys[l * {shape.n_heads} : (l + 1) * {shape.n_heads}]].float().unbind()",
        "",
        "    return look",
        "",
        "looks = []",
        f"for l in range(1, {shape.n_layers}):",
        '    looks += [(f"blocks.{l}.attn.hook_{name}", hold((l, name))) for name in "qk"]',
        '    looks.append((f"blocks.{l}.attn.hook_attn_scores", note(l)))',
        "with torch.enable_grad(), bridge.hooks(fwd_hooks=[*fwd_hooks, *looks]):",
        "    bridge(tokens)",
    ]


def _slope(kind: str, around: Around, group: int) -> list[str]:
    """Lines of the loop after which `slope` is what a later head's query, key or value is multiplied by."""
    if kind == "V":
        return [
            f'    own = cache[f"blocks.{{l}}.attn.hook_v"][0, key, h // {group}].float()',
            "    slope = own / (own @ own)",
        ]
    if around.native:
        other, where = ("k", f"key, h // {group}") if kind == "Q" else ("q", "query, h")
        mine, here = ("q", "query, h") if kind == "Q" else ("k", f"key, h // {group}")
        # Its scores pass no hook; they are these products.
        return [
            f'    slope = cache[f"blocks.{{l}}.attn.hook_{other}"][0, {where}] / {around.shape.d_head} ** 0.5',
            f'    score[later] = cache[f"blocks.{{l}}.attn.hook_{mine}"][0, {here}] @ slope',
        ]
    index = "h" if kind == "Q" else f"h // {group}"
    return [
        f'    [gradient] = torch.autograd.grad(scores[l][h], [held[l, "{kind.lower()}"]], retain_graph=True)',
        f"    slope, seen = gradient[0, position, {index}].float(), scores[l][h].item() > -1e30",
        "    score[later] = scores[l][h].item() if seen else torch.nan",
    ]
