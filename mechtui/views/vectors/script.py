"""How long each steering vector is, and which tokens' logits a step along it changes most."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from mechtui.session.document import Vector
from mechtui.views.question import plain
from mechtui.views.script import FACTOR, Around, quoted
from mechtui.views.vectors import MOST_TOKENS, VectorMeaning, Vectors

OMITS = ("vectors.problem", "vectors.raises.hex", "vectors.lowers.hex")
EACH_RUN = False


def lines(question: Vectors, around: Around) -> list[str]:
    return _lines(around, ())


def lines_of(question: Vectors, around: Around, answers: tuple[Mapping[str, Any] | None, Any]) -> list[str]:
    answer = answers[0]
    return _lines(around, {each["name"] for each in answer["vectors"] if each["problem"]} if answer else ())


def _lines(around: Around, not_there: Collection[str]) -> list[str]:
    """not_there: the names of vectors that cannot be made."""
    vectors = around.session.vectors
    separation = SEPARATION if any(vector.source == "diff" for vector in vectors) else NONE
    read = [
        f"    {{**NONE, 'name': {quoted(vector.name)}}},"
        if vector.name in not_there
        else f"    meaning({quoted(vector.name)}, {around.vector(vector.name)}, {_sides(number, vector)},"
        f" {quoted(_hook(vector, around))}),"
        for number, vector in enumerate(vectors)
    ]
    return [
        "W_U = bridge.unembed.W_U",
        "W_U = W_U if W_U.shape[0] == bridge.cfg.d_model else W_U.T",
        *FACTOR,
        "",
        *separation,
        "",
        "def meaning(name, vector, sides, hook):",
        "    unit = vector / vector.norm()",
        "    # The final norm without its bias and the division: what is left of it is linear.",
        "    ends = bridge.ln_final(torch.stack([unit, -unit])[None] * 1e4)[0]",
        '    centred = unit - unit.mean() if bridge.cfg.normalization_type.startswith("LN") else unit',
        "    change = (ends[0] - ends[1]) / 2 * centred.pow(2).mean().sqrt() @ W_U * times",
        "",
        "    def tokens_of(best):",
        '        return [[{"id": i, "text": text(i)}, change[i].item()] for i in best.indices.tolist()]',
        "",
        "    return {",
        '        "name": name,',
        '        "norm": vector.norm().item(),',
        '        "layer": int(hook.split(".")[1]),',
        '        "residual_norm": clean[hook][0].float().norm(dim=-1).quantile(0.5).item(),',
        f'        "raises": tokens_of(change.topk({MOST_TOKENS})),',
        f'        "lowers": tokens_of((-change).topk({MOST_TOKENS})),',
        '        **dict(zip(("pairs", "right", "auc"), separation(sides))),',
        "    }",
        "",
        *([f"NONE = {NOTHING!r}  # what is said of one that cannot be made"] if not_there else []),
        'return {"vectors": [',
        *read,
        "]}",
    ]


NOTHING = {key: value for key, value in plain(VectorMeaning("")).items() if key != "problem"}
NONE = ("def separation(sides):", "    return 0, None, None")
SEPARATION = (
    "def separation(sides):",
    "    # How well a contrast tells pairs that it is not made of: of each fifth, from the middle of the others.",
    "    if sides is None or len(sides[0]) < 5:",
    "        return 0, None, None",
    "    sides = torch.stack(sides).double()",
    "    fold = torch.arange(sides.shape[1]) % 5",
    "    scores = torch.empty(sides.shape[:2], dtype=torch.float64)",
    "    for out in [fold == part for part in range(5)]:",
    "        first, second = sides[:, ~out].mean(1)",
    "        scores[:, out] = (sides[:, out] - (first + second) / 2) @ (first - second)",
    "        scores[:, out] /= (first - second).norm()",
    "    gaps = scores[0][:, None] - scores[1]",
    "    right, auc = [((gap > 0).double() + (gap == 0) / 2).mean().item() for gap in (gaps.diagonal(), gaps)]",
    "    return sides.shape[1], right, auc",
)


def _sides(number: int, vector: Vector) -> str:
    """What the program calls a contrast's activations."""
    return f"sides_{number}" if vector.source == "diff" else "None"


def _hook(vector: Vector, around: Around) -> str:
    """Where the residual stream was read, or is written."""
    layer, part = vector.layer, vector.part
    if vector.source == "feature":
        hook = around.about(vector.sae).writes
        return hook if hook.endswith("hook_resid_pre") else f"blocks.{hook.split('.')[1]}.hook_resid_post"
    if vector.source in ("token", "file"):
        layer = around.shape.n_layers - 1
    after = vector.source in ("neuron", "token", "file") or part in ("mid", "mlp", "attn", "post")
    return f"blocks.{layer}.hook_resid_{'post' if after else 'pre'}"
