"""Gemma Scope: params.npz with W_enc, b_enc, W_dec, b_dec and threshold, all jumprelu.

Where it reads stands in the names of its folders: gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71.
"""

from __future__ import annotations

import re

from mechtui.engine.dictionaries.dictionary import Dictionary
from mechtui.engine.dictionaries.found import Found, Tensors
from mechtui.session.document import Point

_LAYER = re.compile(r"layer_([0-9]{1,4})(?![0-9])")
_OF = re.compile(r"gemma-scope-([0-9]+b)-(pt|it)-(res|mlp|att|transcoders)(?![a-z])")


def is_one(found: Found, tensors: Tensors) -> bool:
    return found.weights.suffix == ".npz"


def read(found: Found, tensors: Tensors, name: str, reads: Point | None, writes: Point | None) -> Dictionary:
    """reads, writes: where, as the session says; None where it does not. Raises DictionaryError."""
    path = found.weights.absolute().as_posix()
    of, layer = _OF.search(path), _LAYER.search(path)
    if reads is None:
        if of is None or layer is None or "embedding" in path:
            raise found.error(
                "the names of its folders do not say where it reads, as gemma-scope-2b-pt-res/layer_20 does: say it in "
                "the line, as in at L20.post"
            )
        number = int(layer[1])
        match of[3]:
            case "res":
                reads = Point(number, "post")
            case "mlp":
                reads = Point(number, "mlp")
            case "att":
                reads = Point(number, "z")
            case _:
                reads, writes = Point(number, "in"), Point(number, "mlp")
    W_enc = tensors.matrix(_name(tensors, "W_enc"), None, None)
    count = W_enc.shape[1]
    W_dec = tensors.matrix(_name(tensors, "W_dec"), count, W_enc.shape[0] if writes is None else None)
    return Dictionary(
        name,
        "Gemma Scope",
        "jumprelu",
        reads,
        writes or reads,
        W_enc,
        tensors.vector("b_enc", count),
        W_dec,
        tensors.vector("b_dec", W_dec.shape[1]),
        threshold=tensors.vector("threshold", count),
        folded=False if reads.part == "in" else None,
        bos=True,
        made_on="" if of is None else f"gemma-2-{of[1]}" + ("-it" if of[2] == "it" else ""),
    )


def _name(tensors: Tensors, name: str) -> str:
    """Some files write it small."""
    return name if name in tensors else name.replace("W_", "w_")
