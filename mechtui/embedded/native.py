"""Load an attention-only model as TransformerLens's own native architecture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformer_lens.model_bridge import TransformerBridge
from transformers import PreTrainedTokenizerFast


def numbers(config: dict[str, Any]) -> int:
    """How many the model of this config.json has, but for biases and norms.

    Raises KeyError, TypeError and AttributeError.
    """
    told = config["native"]
    if not isinstance(told.get("eps", 0.0), (int, float)):
        raise TypeError(f"eps in its config.json is {told['eps']!r} and should be a number")
    width, wide = told["d_model"], told["n_heads"] * told["d_head"]
    ends = 2 * told["d_vocab"] + told["n_ctx"]
    return int(width * (ends + told["n_layers"] * (4 * wide + 2 * (told.get("d_mlp") or 0))))


def load(folder: Path) -> TransformerBridge:
    """The model in `folder`, with its tokenizer, on the processor.

    Raises:
        OSError: a file is missing.
        KeyError: config.json is not an attention-only model's.
        RuntimeError: the weights do not fit the configuration.
    """
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    bridge = TransformerBridge.boot_native(config["native"], tokenizer=tokenizer, model_name=folder.name)
    weights = load_file(folder / "model.safetensors")
    # The bridge wraps every module of the native model; without the wrappers the names are its own.
    parameters = {
        name.replace("_original_component.", ""): parameter
        for name, parameter in bridge.original_model.named_parameters()
    }
    # The bridge gives the unembedding a bias of zeros, which no checkpoint has.
    asked = {key: tuple(each.shape) for key, each in parameters.items() if key != "head.bias"}
    held = {key: tuple(each.shape) for key, each in weights.items()}
    if other := sorted(key for key in asked.keys() | held.keys() if asked.get(key) != held.get(key)):
        raise RuntimeError(f"its weights are not those that its config.json asks for, beginning with {other[0]}")
    with torch.no_grad():
        for name, weight in weights.items():
            parameters[name].copy_(weight)
    return bridge.eval()
