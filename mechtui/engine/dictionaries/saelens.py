"""SAELens: cfg.json and sae_weights.safetensors.

W_enc [d_in, d_sae], b_enc, W_dec [d_sae, d_out], b_dec; jumprelu has threshold, gated b_gate, b_mag and r_mag in place
of b_enc, a skip transcoder W_skip [d_out, d_in]. From version 6 on what is said of the model stands in `metadata`,
before in the config itself, where other names and defaults hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from mechtui.engine.dictionaries import points
from mechtui.engine.dictionaries.dictionary import Dictionary, Gate, Kind, Normalises, norms
from mechtui.engine.dictionaries.found import Found, Tensors
from mechtui.session.document import Point
from mechtui.session.grammar.words import short

# By their architecture, what decides which features are on. A batch-top-k dictionary is kept as a jumprelu one.
KINDS: dict[str, Kind] = {
    "standard": "standard",
    "gated": "gated",
    "topk": "topk",
    "jumprelu": "jumprelu",
    "batchtopk": "jumprelu",
    "matryoshka_batchtopk": "jumprelu",
    "transcoder": "standard",
    "skip_transcoder": "standard",
    "jumprelu_transcoder": "jumprelu",
    "jumprelu_skip_transcoder": "jumprelu",
}
# Those that nothing is taken away from before they encode, whatever their config says.
TRANSCODERS = ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder")


def is_one(found: Found, tensors: Tensors) -> bool:
    return "W_enc" in tensors and "trainer" not in found.config


def read(found: Found, tensors: Tensors, name: str, reads: Point | None, writes: Point | None) -> Dictionary:
    """reads, writes: where, as the session says; None where it does not. Raises DictionaryError."""
    architecture = found.of("architecture", str, "standard")
    said: Mapping[str, Any] = found.of("metadata", dict, found.config)
    kind, k = _kind(found, architecture)
    transcodes = architecture in TRANSCODERS
    if reads is None:
        reads, writes = _where(found, said, transcodes)
    W_enc = tensors.matrix("W_enc", None, None)
    d_in, count = W_enc.shape
    W_dec = tensors.matrix("W_dec", count, None if transcodes else d_in)
    for key, size in (("d_in", d_in), ("d_sae", count), ("d_out", W_dec.shape[1])):
        if found.of(key, int, size) != size:
            raise found.error(f"its config says {key} {found.config[key]}, and its weights have {size}")
    b_dec = tensors.vector("b_dec", W_dec.shape[1])
    minus = b_dec if not transcodes and found.of("apply_b_dec_to_input", bool, True) else None
    old = "hook_point" in said
    trained: Mapping[str, Any] = found.of("model_from_pretrained_kwargs", dict, {}, said)
    return Dictionary(
        name,
        "SAELens",
        kind,
        reads,
        writes or reads,
        W_enc,
        tensors.vector("b_gate" if kind == "gated" else "b_enc", count),
        W_dec,
        b_dec,
        minus=minus,
        threshold=tensors.vector("threshold", count) if kind == "jumprelu" else None,
        k=k,
        gate=Gate(tensors.vector("r_mag", count), tensors.vector("b_mag", count)) if kind == "gated" else None,
        rescale=norms(W_dec) if found.of("rescale_acts_by_decoder_norm", bool, False) and kind == "topk" else None,
        factor=_factor(found, tensors, count),
        W_skip=tensors.matrix("W_skip", W_dec.shape[1], d_in) if "skip" in architecture else None,
        normalises=_normalises(found),
        restores=not transcodes,
        # The first versions trained on TransformerLens's processed weights; later ones do where they say so.
        centred=bool(trained.get("center_writing_weights", old)) and reads.part not in ("z", "in", "act"),
        folded=bool(trained.get("fold_ln", old)) if reads.part == "in" else None,
        unbiased=bool(trained.get("fold_value_biases", old)) and reads.part == "z",
        bos=_bos(found, said),
        made_on=str(said.get("model_name") or ""),
    )


def _kind(found: Found, architecture: str) -> tuple[Kind, int | None]:
    """And of top-k dictionaries the k."""
    kind = KINDS.get(architecture)
    if kind is None:
        raise found.error(f"its architecture is {short(architecture)}, and those that are read are {', '.join(KINDS)}")
    function = found.of("activation_fn_str", str, found.of("activation_fn", str, "relu"))
    if function == "topk" or kind == "topk":
        own: Mapping[str, Any] = found.of("activation_fn_kwargs", dict, {})
        k = found.of("k", int, found.of("k", int, None, own))
        if k is None or k < 1:
            raise found.error("its config says no k, and a top-k dictionary has one")
        return "topk", k
    if function != "relu":
        raise found.error(f"its activation function is {short(function)}, and relu and topk are read")
    return kind, None


def _where(found: Found, said: Mapping[str, Any], transcodes: bool) -> tuple[Point, Point]:
    names = [said.get(key) for key in ("hook_name", "hook_point")]
    first = next((each for each in names if each is not None), None)
    second = next((each for key in ("hook_name_out", "hook_point_out") if (each := said.get(key))), None)
    if isinstance(first, list) or isinstance(second, list):
        raise found.error("it writes to several layers at once, and only what reads one place and writes one is read")
    for key in ("hook_head_index", "hook_point_head_index", "hook_head_index_out"):
        if said.get(key) is not None:
            raise found.error(f"it is of one head's activations ({key}), and dictionaries of all of a place are read")
    reads = _point(found, first)
    if transcodes and second is None:
        raise found.error("it is a transcoder, and its config names no hook_name_out to which it writes")
    return reads, reads if second is None else _point(found, second)


def _point(found: Found, hook: object) -> Point:
    point = points.of_any(hook) if isinstance(hook, str) else None
    if point is None:
        there = short(str(hook)) if hook else "no place"
        raise found.error(
            f"its config names {there}, and places that are known are as blocks.8.hook_resid_post; say it in the line, "
            "as in at L8.post"
        )
    return point


def _normalises(found: Found) -> Normalises:
    said = found.config.get("normalize_activations")
    match said:
        case None | False | "none":
            return "none"
        case "layer_norm":
            return "layer_norm"
        case "constant_norm_rescale":
            return "constant_norm_rescale"
        case _:
            said = "expected_average_only_in" if said is True else said
            raise found.error(
                f"its activations are normalised by {short(str(said))}, whose numbers its files do not hold: fold them "
                "into its weights first"
            )


def _factor(found: Found, tensors: Tensors, count: int) -> torch.Tensor | None:
    """What activations are multiplied by before they are decoded."""
    if not found.of("finetuning_scaling_factor", bool, False):
        return None
    return tensors.vector("scaling_factor", count)


def _bos(found: Found, said: Mapping[str, Any]) -> bool | None:
    """Before version 6 it was so unless it was said otherwise."""
    prepends: bool | None = found.of("prepend_bos", bool, True if said is found.config else None, said)
    return prepends
