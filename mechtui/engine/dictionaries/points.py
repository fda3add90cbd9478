"""Places in a model, as those who train dictionaries write them."""

from __future__ import annotations

import re

from mechtui.session.document import Point, Where

# TransformerLens's hooks, within their block. What the MLP reads before its norm is the stream.
HOOKS: dict[str, Where] = {
    "hook_resid_pre": "pre",
    "hook_resid_mid": "mid",
    "hook_mlp_in": "mid",
    "hook_resid_post": "post",
    "hook_attn_out": "attn",
    "hook_mlp_out": "mlp",
    "attn.hook_z": "z",
    "ln2.hook_normalized": "in",
    "mlp.hook_in": "in",
    "mlp.hook_post": "act",
}
_HOOK = re.compile(r"blocks\.([0-9]{1,5})\.([\w.]+)")
_MODULE = re.compile(r"(?:\w+\.)*(?:layers|h|blocks)\.([0-9]{1,5})(?:\.(mlp|attn|self_attn|attention))?")
_SAID = re.compile(r"(resid_pre|resid_mid|resid_post|attn_out|attention_out|mlp_out)_layer_([0-9]{1,5})")
_OF_SAID: dict[str, Where] = {"resid_pre": "pre", "resid_mid": "mid", "resid_post": "post", "mlp_out": "mlp"}


def of_hook(name: str) -> Point | None:
    """`blocks.8.hook_resid_pre`."""
    found = _HOOK.fullmatch(name)
    part = HOOKS.get(found[2]) if found is not None else None
    return None if found is None or part is None else Point(int(found[1]), part)


def of_module(name: str, inputs: bool = False) -> Point | None:
    """What one of Hugging Face's modules gives (`transformer.h.8`, `layers.5.mlp`), or what it reads."""
    found = _MODULE.fullmatch(name)
    if found is None:
        return None
    kind = "mlp" if found[2] == "mlp" else "attn" if found[2] else ""
    parts: dict[tuple[str, bool], Where] = {
        ("", False): "post",
        ("", True): "pre",
        ("mlp", False): "mlp",
        ("mlp", True): "in",
        ("attn", False): "attn",
    }
    part = parts.get((kind, inputs))
    return None if part is None else Point(int(found[1]), part)


def of_said(name: str) -> Point | None:
    """`resid_post_layer_8`."""
    found = _SAID.fullmatch(name)
    return None if found is None else Point(int(found[2]), _OF_SAID.get(found[1], "attn"))


def of_any(name: str) -> Point | None:
    """A hook's name or a module's."""
    return of_hook(name) or of_module(name)
