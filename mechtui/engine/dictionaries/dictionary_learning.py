"""dictionary_learning: config.json and ae.pt, or ae.safetensors with the same tensors.

Of nn.Linear encoder.weight is [feature, d_in] and decoder.weight [d_in, feature]. What is on in a batch-top-k
dictionary is, when it is used, what lies above the threshold that training has left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mechtui.engine.dictionaries import points
from mechtui.engine.dictionaries.dictionary import Dictionary, Gate, norms
from mechtui.engine.dictionaries.found import Found, Tensors
from mechtui.session.document import Point
from mechtui.session.grammar.words import short

CLASSES = (
    "AutoEncoder",
    "AutoEncoderNew",
    "GatedAutoEncoder",
    "JumpReluAutoEncoder",
    "AutoEncoderTopK",
    "BatchTopKSAE",
    "MatryoshkaBatchTopKSAE",
)


def is_one(found: Found, tensors: Tensors) -> bool:
    return "trainer" in found.config


def read(found: Found, tensors: Tensors, name: str, reads: Point | None, writes: Point | None) -> Dictionary:
    """reads, writes: where, as the session says; None where it does not. Raises DictionaryError."""
    trainer: Mapping[str, Any] = found.of("trainer", dict, {})
    kind = found.of("dict_class", str, "", trainer)
    if kind not in CLASSES:
        raise found.error(
            f"its dict_class is {short(kind) or 'not said'}, and those that are read: {', '.join(CLASSES)}"
        )
    where = reads or _where(found, trainer)
    tables = kind in ("JumpReluAutoEncoder", "MatryoshkaBatchTopKSAE")
    if tables:
        W_enc = tensors.matrix("W_enc", None, None)
        W_dec = tensors.matrix("W_dec", W_enc.shape[1], W_enc.shape[0])
    else:
        W_enc = tensors.matrix("encoder.weight", None, None).T
        W_dec = tensors.matrix("decoder.weight", *W_enc.shape).T
    d_in, count = W_enc.shape
    for key, size in (("activation_dim", d_in), ("dict_size", count)):
        if found.of(key, int, size, trainer) != size:
            raise found.error(f"its config says {key} {trainer[key]}, and its weights have {size}")
    bias = {
        "AutoEncoder": "bias",
        "AutoEncoderNew": "decoder.bias",
        "GatedAutoEncoder": "decoder_bias",
    }.get(kind, "b_dec")
    b_dec = tensors.vector(bias, d_in)
    b_enc = {"GatedAutoEncoder": "gate_bias"}.get(kind, "b_enc" if tables else "encoder.bias")
    gated, topk = kind == "GatedAutoEncoder", kind == "AutoEncoderTopK"
    return Dictionary(
        name,
        "dictionary_learning",
        "gated" if gated else "topk" if topk else "standard" if "AutoEncoder" in kind and not tables else "jumprelu",
        where,
        writes or where,
        W_enc,
        tensors.vector(b_enc, count),
        W_dec,
        b_dec,
        minus=None if kind in ("AutoEncoderNew", "JumpReluAutoEncoder") else b_dec,
        threshold=_threshold(tensors, kind, count),
        k=_k(found, tensors, trainer) if topk else None,
        gate=Gate(tensors.vector("r_mag", count), tensors.vector("mag_bias", count)) if gated else None,
        rescale=_lengths(W_dec) if kind == "AutoEncoder" else None,
        made_on=found.of("lm_name", str, "", trainer),
    )


def _threshold(tensors: Tensors, kind: str, count: int) -> Tensor | None:
    if kind == "JumpReluAutoEncoder":
        return tensors.vector("threshold", count)
    if kind.endswith("BatchTopKSAE"):
        return torch.full((count,), tensors.number("threshold"))
    return None


def _k(found: Found, tensors: Tensors, trainer: Mapping[str, Any]) -> int:
    k = found.of("k", int, None, trainer)
    if k is None or k < 1:
        raise found.error("its config says no k, and a top-k dictionary has one")
    return int(k)


def _lengths(W_dec: Tensor) -> Tensor | None:
    """When it is opened, its directions are made one long, and its activations as much larger."""
    lengths = norms(W_dec)
    return None if torch.allclose(lengths, torch.ones_like(lengths)) else lengths


def _where(found: Found, trainer: Mapping[str, Any]) -> Point:
    module = found.of("submodule_name", str, "", trainer)
    buffer: Mapping[str, Any] = found.of("buffer", dict, {})
    side = found.of("io", str, "out", buffer)
    point = points.of_said(module) or points.of_module(module, side == "in")
    if point is None or side not in ("in", "out"):
        raise found.error(
            f"its config names {short(module) or 'no module'}, which is no place that is known here: say where it "
            "reads in the line, as in at L8.post"
        )
    return point
