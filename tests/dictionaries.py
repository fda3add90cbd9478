"""Small dictionaries of features in the layout of each format, and what they make of a row, in plain numpy."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray


@dataclass
class Made:
    """path: what a session's line names. encode: [row, d_in] -> [row, feature]; decode: (those, the rows that were
    read) -> [row, d_out]. directions [feature, d_out]: what is written per unit of activation, before the format's own
    normalising is undone."""

    path: Path
    encode: Callable[[Array], Array]
    decode: Callable[[Array, Array], Array]
    directions: Array


def numbers(seed: int, *size: int, by: float = 1.0) -> Array:
    return (by * np.random.default_rng(seed).standard_normal(size)).astype(np.float32)


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def largest(pre: Array, k: int) -> Array:
    """The k largest of each row, the others 0."""
    acts = np.zeros_like(pre)
    for row, own in zip(acts, pre, strict=True):
        best = np.argsort(own)[::-1][:k]
        row[best] = relu(own[best])
    return acts


def put(folder: Path, tensors: Mapping[str, Array], weights: str, config: Any = None, name: str = "cfg.json") -> Path:
    """Write them as the format does; weights: the file's name."""
    folder.mkdir(parents=True, exist_ok=True)
    if weights.endswith(".npz"):
        np.savez(folder / weights, **tensors)
    elif weights.endswith(".pt"):
        import torch

        torch.save({name: torch.tensor(each) for name, each in tensors.items()}, folder / weights)
    else:
        from safetensors.numpy import save_file

        save_file({name: np.ascontiguousarray(each) for name, each in tensors.items()}, folder / weights)
    if config is not None:
        (folder / name).write_text(json.dumps(config), encoding="utf-8")
    return folder


def saelens(
    folder: Path,
    d_in: int,
    hook: str = "blocks.1.hook_resid_pre",
    *,
    architecture: str = "standard",
    hook_out: str = "",
    d_out: int = 0,
    features: int = 40,
    half: bool = False,
    more: Mapping[str, Any] | None = None,
    said: Mapping[str, Any] | None = None,
    old: Mapping[str, Any] | None = None,
) -> Made:
    """SAELens's. more: further keys of its config, said: of its metadata. old: in the place of metadata, the keys of a
    config from before version 6."""
    more, said = dict(more or {}), dict(said or {})
    transcodes = "transcoder" in architecture
    d_out = d_out or d_in
    W_enc, W_dec = numbers(1, d_in, features), numbers(2, features, d_out, by=0.4)
    kind = np.float16 if half else np.float32
    W_enc, W_dec = W_enc.astype(kind), W_dec.astype(kind)
    tensors = {"W_enc": W_enc, "W_dec": W_dec, "b_dec": numbers(3, d_out, by=0.3)}
    gated = architecture == "gated"
    if gated:
        tensors |= {
            "b_gate": numbers(4, features),
            "b_mag": numbers(5, features),
            "r_mag": numbers(6, features, by=0.3),
        }
    else:
        tensors["b_enc"] = numbers(4, features, by=0.5)
    jumps = architecture.startswith("jumprelu") or "batchtopk" in architecture
    if jumps:
        tensors["threshold"] = np.abs(numbers(7, features))
    if "skip" in architecture:
        tensors["W_skip"] = numbers(8, d_out, d_in, by=0.2)
    if more.get("finetuning_scaling_factor"):
        tensors["scaling_factor"] = np.abs(numbers(9, features)) + 0.5
    config: dict[str, Any] = {"architecture": architecture, "d_in": d_in, "d_sae": features, **more}
    if old is not None:
        config |= {"hook_name": hook, "prepend_bos": False, **old}
    else:
        metadata = {"hook_name": hook, "prepend_bos": None, **said}
        config["metadata"] = metadata | ({"hook_name_out": hook_out} if hook_out else {})
    if transcodes:
        config["d_out"] = d_out
    topk = architecture == "topk" or more.get("activation_fn_str") == "topk"
    k = more.get("k", more.get("activation_fn_kwargs", {}).get("k", 0))
    norm = more.get("normalize_activations")
    subtracts = not transcodes and more.get("apply_b_dec_to_input", True)
    lengths = (
        np.linalg.norm(W_dec.astype(np.float32), axis=1) if more.get("rescale_acts_by_decoder_norm") else np.float32(1)
    )

    def normal(x: Array) -> tuple[Any, Any, Any]:
        if norm == "layer_norm":
            spread = x.std(-1, ddof=1, keepdims=True)
            return x.mean(-1, keepdims=True), spread + 1e-5, spread
        if norm == "constant_norm_rescale":
            length = np.linalg.norm(x, axis=-1, keepdims=True) / np.sqrt(d_in)
            return 0.0, length, length
        return 0.0, 1.0, 1.0

    def encode(x: Array) -> Array:
        shift, divide, _ = normal(x)
        x = (x - shift) / divide - (tensors["b_dec"] if subtracts else 0)
        if gated:
            gate = x @ W_enc + tensors["b_gate"] > 0
            return gate * relu(x @ (W_enc * np.exp(tensors["r_mag"])) + tensors["b_mag"])
        pre = (x @ W_enc.astype(np.float32) + tensors["b_enc"]) * lengths
        if topk:
            return largest(pre, k)
        return relu(pre) * (pre > tensors["threshold"]) if jumps else relu(pre)

    directions = W_dec.astype(np.float32) * (tensors["scaling_factor"][:, None] if "scaling_factor" in tensors else 1)
    directions = directions / np.reshape(lengths, (-1, 1))

    def decode(acts: Array, x: Array) -> Array:
        shift, _, times = (0.0, 1.0, 1.0) if transcodes else normal(x)
        y = (acts @ directions + tensors["b_dec"]) * times + shift
        return y + (x @ tensors["W_skip"].T if "W_skip" in tensors else 0)

    return Made(put(folder, tensors, "sae_weights.safetensors", config), encode, decode, directions)


def learned(folder: Path, d_in: int, kind: str, weights: str = "ae.pt", features: int = 40, **trainer: Any) -> Made:
    """dictionary_learning's. trainer: further keys of its config."""
    tables = kind in ("JumpReluAutoEncoder", "MatryoshkaBatchTopKSAE")
    W_enc, W_dec = numbers(1, d_in, features), numbers(2, features, d_in, by=0.4)
    b_enc, b_dec = numbers(3, features, by=0.5), numbers(4, d_in, by=0.3)
    tensors: dict[str, Array] = (
        {"W_enc": W_enc, "W_dec": W_dec} if tables else {"encoder.weight": W_enc.T, "decoder.weight": W_dec.T}
    )
    r_mag, b_mag, threshold = numbers(5, features, by=0.3), numbers(6, features), np.float32(0.7)
    match kind:
        case "AutoEncoder":
            tensors |= {"encoder.bias": b_enc, "bias": b_dec}
        case "AutoEncoderNew":
            tensors |= {"encoder.bias": b_enc, "decoder.bias": b_dec}
        case "GatedAutoEncoder":
            tensors |= {"gate_bias": b_enc, "mag_bias": b_mag, "r_mag": r_mag, "decoder_bias": b_dec}
        case "JumpReluAutoEncoder":
            threshold = np.abs(numbers(7, features))
            tensors |= {"b_enc": b_enc, "b_dec": b_dec, "threshold": threshold}
        case "MatryoshkaBatchTopKSAE":
            tensors |= {"b_enc": b_enc, "b_dec": b_dec, "threshold": threshold}
        case _:
            tensors |= {"encoder.bias": b_enc, "b_dec": b_dec, "threshold": threshold}
    said = {"dict_class": kind, "activation_dim": d_in, "dict_size": features, "submodule_name": "resid_post_layer_0"}
    config = {"trainer": said | {"k": 7} | trainer, "buffer": {"io": "out"}}
    subtracts = kind not in ("AutoEncoderNew", "JumpReluAutoEncoder")
    lengths = np.linalg.norm(W_dec, axis=1) if kind == "AutoEncoder" else np.ones(features, np.float32)

    def encode(x: Array) -> Array:
        read = (x - b_dec if subtracts else x) @ W_enc
        pre = read + b_enc
        match kind:
            case "GatedAutoEncoder":
                return (pre > 0) * relu(read * np.exp(r_mag) + b_mag)
            case "AutoEncoderTopK":
                return largest(relu(pre), 7)
            case "JumpReluAutoEncoder" | "BatchTopKSAE" | "MatryoshkaBatchTopKSAE":
                return relu(pre) * (pre > threshold)
            case _:
                return relu(pre) * lengths

    directions = W_dec / lengths[:, None]
    path = put(folder, tensors, weights, config, "config.json")
    return Made(path, encode, lambda acts, x: acts @ directions + b_dec, directions)


def gemma(folder: Path, d_in: int, features: int = 40) -> Made:
    W_enc, W_dec = numbers(1, d_in, features), numbers(2, features, d_in, by=0.4)
    b_enc, b_dec, threshold = numbers(3, features), numbers(4, d_in), np.abs(numbers(5, features))
    tensors = {"W_enc": W_enc, "W_dec": W_dec, "b_enc": b_enc, "b_dec": b_dec, "threshold": threshold}

    def encode(x: Array) -> Array:
        pre = x @ W_enc + b_enc
        return relu(pre) * (pre > threshold)

    return Made(put(folder, tensors, "params.npz"), encode, lambda acts, x: acts @ W_dec + b_dec, W_dec)


def sparsified(folder: Path, d_in: int, features: int = 40, **config: Any) -> Made:
    """sparsify's. config: further keys."""
    W_enc, W_dec = numbers(1, features, d_in), numbers(2, features, d_in, by=0.4)
    b_enc, b_dec, W_skip = numbers(3, features), numbers(4, d_in), numbers(5, d_in, d_in, by=0.2)
    tensors = {"encoder.weight": W_enc, "encoder.bias": b_enc, "W_dec": W_dec, "b_dec": b_dec}
    skips = config.get("skip_connection", False)
    tensors |= {"W_skip": W_skip} if skips else {}
    said = {"expansion_factor": 2, "normalize_decoder": True, "num_latents": features, "k": 6, "d_in": d_in}

    def encode(x: Array) -> Array:
        return largest((x if config.get("transcode") else x - b_dec) @ W_enc.T + b_enc, 6)

    def decode(acts: Array, x: Array) -> Array:
        return acts @ W_dec + b_dec + (x @ W_skip.T if skips else 0)

    return Made(put(folder, tensors, "sae.safetensors", said | config), encode, decode, W_dec)
