"""Sites: the one table of where an edit can act, with TransformerLens's name of each place.

`L9H4.q` lies at `blocks.9.attn.hook_q`, head 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mechtui.session.document import ModelShape, Part, Point, Site, Where


@dataclass(frozen=True)
class Place:
    """hook: TransformerLens's name, within its block where it lies in one. width: numbers per position (of one head or
    neuron); "keys": a row with one number for each key. note: what it is, for who writes a line."""

    hook: str
    width: Literal["d_head", "keys", "d_model", "1"]
    note: str


HEAD: dict[Part, Place] = {
    "z": Place("attn.hook_z", "d_head", "what the head reads by its pattern (hook_z)"),
    "q": Place("attn.hook_q", "d_head", "queries"),
    "k": Place("attn.hook_k", "d_head", "keys"),
    "v": Place("attn.hook_v", "d_head", "values"),
    "pattern": Place("attn.hook_pattern", "keys", "attention after the softmax"),
    "scores": Place("attn.hook_attn_scores", "keys", "attention before the softmax"),
}
LAYER: dict[Part, Place] = {
    "attn": Place("hook_attn_out", "d_model", "what attention writes (hook_attn_out)"),
    "mlp": Place("hook_mlp_out", "d_model", "what the MLP writes (hook_mlp_out)"),
    "pre": Place("hook_resid_pre", "d_model", "the residual stream before the layer"),
    "mid": Place("hook_resid_mid", "d_model", "the residual stream between attention and MLP"),
    "post": Place("hook_resid_post", "d_model", "the residual stream after the layer"),
}
NEURON = Place("mlp.hook_post", "1", "one MLP neuron")
FEATURE = Place("", "1", "one feature of a dictionary")  # where it lies, its files say
EMBED = Place("hook_embed", "d_model", "token embeddings")
POS = Place("hook_pos_embed", "d_model", "position embeddings")

# What a dictionary of features may read and write, by its part of a layer.
POINTS: dict[Where, str] = {
    **{part: LAYER[part].hook for part in ("pre", "mid", "post", "attn", "mlp")},
    "z": "attn.hook_z",
    "in": "mlp.hook_in",
    "act": "mlp.hook_post",
}

HEAD_PARTS, LAYER_PARTS = tuple(HEAD), tuple(LAYER)
# What lies within attention as [head, query, key].
TABLES = tuple(place.hook.removeprefix("attn.") for place in HEAD.values() if place.width == "keys")


def place(site: Site) -> Place:
    """The site's row of the table."""
    match site.kind:
        case "head":
            return HEAD[site.part or "z"]
        case "layer":
            return LAYER[site.part or "pre"]
        case "neuron":
            return NEURON
        case "feature":
            return FEATURE
        case "embed":
            return EMBED
        case "pos":
            return POS


def hooks(site: Site, shape: ModelShape) -> list[tuple[str, int]]:
    """(hook name, layer) of each place that the site names, in rising layers; -1 is the layer of the embeddings."""
    name = place(site).hook
    if site.kind in ("embed", "pos"):
        return [(name, -1)]
    return [(f"blocks.{layer}.{name}", layer) for layer in site.layers.within(shape.n_layers)]


def hook(layer: int, part: Part) -> str:
    """The hook name of a place of the residual stream, or of what a part of the block writes to it."""
    return f"blocks.{layer}.{LAYER[part].hook}"


def point_hook(point: Point) -> str:
    """TransformerLens's name of a point."""
    return f"blocks.{point.layer}.{POINTS[point.part]}"


def point_width(point: Point, shape: ModelShape) -> int:
    """Numbers per position that pass there."""
    return {"z": shape.n_heads * shape.d_head, "act": shape.d_mlp}.get(point.part, shape.d_model)


def members(site: Site, shape: ModelShape) -> tuple[int, ...] | None:
    """The heads, key-value groups or neurons that the site names; None: all of the stream."""
    match site.kind:
        case "head":
            return tuple(site.index.within(head_count(site, shape)))
        case "neuron":
            return tuple(site.index.within(shape.d_mlp))
        case _:
            return None


def head_count(site: Site, shape: ModelShape) -> int:
    """How many heads there are to name at a site: k and v have one for each key-value group."""
    return shape.n_kv_heads if site.part in ("k", "v") else shape.n_heads
