"""Models of well-known shapes, read straight from their folder.

files.py           tensors by name, each asked for once
gpt2.py            GPT-2
llama.py           Llama, and Mistral and Qwen2 without windows
attention_only.py  the embedded models without MLPs
tokenizer.py       a tokenizer.json
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mechtui.engine.forward.direct import DirectModel
from mechtui.worker.models.direct import attention_only, gpt2, llama
from mechtui.worker.models.direct.files import Tensors, UnknownError
from mechtui.worker.models.direct.tokenizer import DirectTokenizer

# What reading a file raises in which anything may be of any type, and of any size.
MISSHAPEN = (ArithmeticError, LookupError, RecursionError, TypeError, ValueError)
KINDS: dict[str, Callable[[dict[str, Any], Tensors], DirectModel]] = {
    "GPT2LMHeadModel": gpt2.read,
    "LlamaForCausalLM": llama.read,
    "MistralForCausalLM": llama.read,
    "Qwen2ForCausalLM": llama.read,
    "MechtuiAttentionOnly": attention_only.read,
}


def read(
    folder: Path, config: dict[str, Any], files: list[Path], device: torch.device, dtype: torch.dtype
) -> tuple[DirectTokenizer, DirectModel] | None:
    """The tokenizer and the model of a folder whose weights are `files`; None where anything of it is not known here
    for sure, so that transformers is to read it. config: its config.json."""
    named = config.get("architectures") or [""]
    if len(named) != 1 or named[0] not in KINDS or "quantization_config" in config or "auto_map" in config:
        return None
    if any(file.suffix != ".safetensors" for file in files):
        return None
    try:
        tokenizer = DirectTokenizer(folder, config.get("model_type"))
        tensors = Tensors(files, device, dtype)
        model = KINDS[named[0]](config, tensors)
        tensors.check_all_read()
    except (UnknownError, *MISSHAPEN):
        return None
    return tokenizer, model.eval()
