"""EleutherAI's sparsify: cfg.json and sae.safetensors, in a folder with the name of a Hugging Face module.

encoder.weight [feature, d_in], encoder.bias, W_dec [feature, d_in], b_dec, with a skip connection W_skip [d_in, d_in];
the k largest features are on. An autoencoder's b_dec is taken away before it encodes, a transcoder's is not.
"""

from __future__ import annotations

from mechtui.engine.dictionaries import points
from mechtui.engine.dictionaries.dictionary import Dictionary
from mechtui.engine.dictionaries.found import Found, Tensors
from mechtui.session.document import Point
from mechtui.session.grammar.words import short


def is_one(found: Found, tensors: Tensors) -> bool:
    return "encoder.weight" in tensors and "trainer" not in found.config


def read(found: Found, tensors: Tensors, name: str, reads: Point | None, writes: Point | None) -> Dictionary:
    """reads, writes: where, as the session says; None where it does not. Raises DictionaryError."""
    transcodes = found.of("transcode", bool, False)
    activation = found.of("activation", str, "topk")
    if activation != "topk" or found.of("signed", bool, False):
        what = "signed" if found.of("signed", bool, False) else short(activation)
        raise found.error(f"its activations are {what}, and of sparsify's those are read that are topk")
    k = found.of("k", int)
    if k is None or k < 1:
        raise found.error("its config says no k, and a top-k dictionary has one")
    module = found.folder.name
    if reads is None:
        reads = points.of_module(module, transcodes)
        writes = points.of_module(module)
        if reads is None or writes is None:
            raise found.error(
                f"its folder {short(module)} is no module that is known here, as layers.8 is: say where it reads "
                "in the line, as in at L8.post"
            )
    W_enc = tensors.matrix("encoder.weight", None, None).T
    d_in, count = W_enc.shape
    if found.of("d_in", int, d_in) != d_in:
        raise found.error(f"its config says d_in {found.config['d_in']}, and its weights have {d_in}")
    b_dec = tensors.vector("b_dec", d_in)
    return Dictionary(
        name,
        "sparsify",
        "topk",
        reads,
        writes or reads,
        W_enc,
        tensors.vector("encoder.bias", count),
        tensors.matrix("W_dec", count, d_in),
        b_dec,
        minus=None if transcodes else b_dec,
        k=k,
        W_skip=tensors.matrix("W_skip", d_in, d_in) if found.of("skip_connection", bool, False) else None,
        folded=False if reads.part == "in" else None,
    )
