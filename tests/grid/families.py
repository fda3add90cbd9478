"""One tiny model with random weights of every architecture that is promised, its quirks switched on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from tests.folders import tokenizer

# Wide weights: with the usual .02 every head attends evenly and a test sees nothing.
WIDE = 0.2
LAYERS, HEADS, WIDTH, MLP, CONTEXT = 2, 4, 32, 48, 64
# Shorter than the prompts.
WINDOW = 5

_USUAL = {
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "hidden_size": WIDTH,
    "intermediate_size": MLP,
    "max_position_embeddings": CONTEXT,
    "initializer_range": WIDE,
}
_GROUPED = _USUAL | {"num_key_value_heads": 2}
_GPT2 = {
    "n_layer": LAYERS,
    "n_head": HEADS,
    "n_embd": WIDTH,
    "n_inner": MLP,
    "n_positions": CONTEXT,
    "initializer_range": WIDE,
}
_LINEAR = {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}
_LLAMA3 = {
    "rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16, "rope_theta": 10000.0,
}  # fmt: skip
_FALCON = {
    "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "hidden_size": WIDTH, "ffn_hidden_size": MLP,
    "initializer_range": WIDE, "max_position_embeddings": CONTEXT,
}  # fmt: skip
_GEMMA = _GROUPED | {"head_dim": 12, "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": 16}
_WINDOWS = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}

# name -> (class of the model, class of its configuration, what the configuration says)
FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", _GPT2),
    "gpt2 unscaled": ("GPT2LMHeadModel", "GPT2Config", _GPT2 | {"scale_attn_weights": False}),
    "gpt2 by layer": (
        "GPT2LMHeadModel", "GPT2Config",
        _GPT2 | {"scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True},
    ),
    "gpt-bigcode": ("GPTBigCodeForCausalLM", "GPTBigCodeConfig", _GPT2 | {"multi_query": True}),
    "gpt-bigcode many keys": ("GPTBigCodeForCausalLM", "GPTBigCodeConfig", _GPT2 | {"multi_query": False}),
    "gpt-j": ("GPTJForCausalLM", "GPTJConfig", _GPT2 | {"rotary_dim": 4}),
    "gpt-neo": (
        "GPTNeoForCausalLM", "GPTNeoConfig",
        {
            "num_layers": LAYERS, "num_heads": HEADS, "hidden_size": WIDTH, "intermediate_size": MLP,
            "max_position_embeddings": CONTEXT, "initializer_range": WIDE, "window_size": WINDOW,
            "attention_types": [[["global", "local"], 1]],
        },
    ),
    "neox parallel": ("GPTNeoXForCausalLM", "GPTNeoXConfig", _USUAL | {"use_parallel_residual": True}),
    "neox serial": ("GPTNeoXForCausalLM", "GPTNeoXConfig", _USUAL | {"use_parallel_residual": False}),
    "neox without bias": ("GPTNeoXForCausalLM", "GPTNeoXConfig", _USUAL | {"attention_bias": False}),
    "opt": (
        "OPTForCausalLM", "OPTConfig",
        {
            "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "hidden_size": WIDTH, "ffn_dim": MLP,
            "max_position_embeddings": CONTEXT, "init_std": WIDE, "word_embed_proj_dim": WIDTH,
        },
    ),
    "opt without final norm": (
        "OPTForCausalLM", "OPTConfig",
        {
            "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "hidden_size": WIDTH, "ffn_dim": MLP,
            "max_position_embeddings": CONTEXT, "init_std": WIDE, "word_embed_proj_dim": 24,
            "do_layer_norm_before": False,
        },
    ),
    "bloom": (
        "BloomForCausalLM", "BloomConfig",
        {"n_layer": LAYERS, "n_head": HEADS, "hidden_size": WIDTH, "initializer_range": WIDE, "seq_length": CONTEXT},
    ),
    "falcon 7b": ("FalconForCausalLM", "FalconConfig", _FALCON | {"multi_query": True, "parallel_attn": True}),
    "falcon 40b": (
        "FalconForCausalLM", "FalconConfig",
        _FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2, "parallel_attn": True},
    ),
    "falcon alibi": (
        "FalconForCausalLM", "FalconConfig",
        _FALCON | {"alibi": True, "multi_query": False, "parallel_attn": False, "bias": True},
    ),
    "llama": ("LlamaForCausalLM", "LlamaConfig", _GROUPED),
    "llama linear": ("LlamaForCausalLM", "LlamaConfig", _GROUPED | {"rope_parameters": _LINEAR}),
    "llama 3": (
        "LlamaForCausalLM", "LlamaConfig",
        _GROUPED | {"rope_parameters": _LLAMA3, "attention_bias": True, "mlp_bias": True},
    ),
    "mistral": ("MistralForCausalLM", "MistralConfig", _GROUPED | {"sliding_window": None}),
    "mistral window": ("MistralForCausalLM", "MistralConfig", _GROUPED | {"sliding_window": WINDOW}),
    "qwen2": ("Qwen2ForCausalLM", "Qwen2Config", _GROUPED | {"use_sliding_window": False}),
    "qwen2 window": (
        "Qwen2ForCausalLM", "Qwen2Config",
        _GROUPED | {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", _GROUPED | {"head_dim": 12}),
    "mixtral": (
        "MixtralForCausalLM", "MixtralConfig",
        _GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
    ),
    "phi": ("PhiForCausalLM", "PhiConfig", _USUAL | {"partial_rotary_factor": 0.5}),
    "phi normed": ("PhiForCausalLM", "PhiConfig", _USUAL | {"partial_rotary_factor": 0.5, "qk_layernorm": True}),
    "phi-3": ("Phi3ForCausalLM", "Phi3Config", _GROUPED | {"sliding_window": None}),
    "phi-3 window": ("Phi3ForCausalLM", "Phi3Config", _GROUPED | {"sliding_window": WINDOW}),
    "gemma": ("GemmaForCausalLM", "GemmaConfig", _GROUPED | {"head_dim": 12}),
    "gemma 2": (
        "Gemma2ForCausalLM", "Gemma2Config",
        _GEMMA | _WINDOWS | {"attn_logit_softcapping": 5.0, "final_logit_softcapping": 8.0},
    ),
    "gemma 3": ("Gemma3ForCausalLM", "Gemma3TextConfig", _GEMMA | _WINDOWS),
    "olmo": ("OlmoForCausalLM", "OlmoConfig", _GROUPED | {"clip_qkv": 2.0}),
    "olmo 2": ("Olmo2ForCausalLM", "Olmo2Config", _GROUPED),
    "stablelm": ("StableLmForCausalLM", "StableLmConfig", _GROUPED | {"use_qkv_bias": True}),
    "stablelm parallel": (
        "StableLmForCausalLM", "StableLmConfig",
        _GROUPED | {"use_parallel_residual": True, "qk_layernorm": True},
    ),
    "smollm3": ("SmolLM3ForCausalLM", "SmolLM3Config", _GROUPED | {"no_rope_layers": [1, 0]}),
    "cohere": ("CohereForCausalLM", "CohereConfig", _GROUPED | {"logit_scale": 0.25}),
    "cohere normed": ("CohereForCausalLM", "CohereConfig", _GROUPED | {"logit_scale": 0.25, "use_qk_norm": True}),
    "granite": (
        "GraniteForCausalLM", "GraniteConfig",
        _GROUPED
        | {
            "embedding_multiplier": 3.0, "logits_scaling": 4.0, "residual_multiplier": 0.3,
            "attention_multiplier": 0.2,
        },
    ),
    "mpt": (
        "MptForCausalLM", "MptConfig",
        {
            "n_layers": LAYERS, "n_heads": HEADS, "d_model": WIDTH, "expansion_ratio": 2, "max_seq_len": CONTEXT,
            "initializer_range": WIDE,
        },
    ),
    "starcoder2": (
        "Starcoder2ForCausalLM", "Starcoder2Config",
        _GROUPED | {"sliding_window": WINDOW},
    ),
}  # fmt: skip


def make(name: str, folder: Path) -> Path:
    """Write the model of that name into `folder` -> the folder."""
    model_class, config_class, says = FAMILIES[name]
    words = tokenizer()
    words.save_pretrained(folder)
    config = getattr(transformers, config_class)(
        vocab_size=len(words), bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id, **_padded(name), **says
    )
    torch.manual_seed(0)
    model = getattr(transformers, model_class)(config)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            _spread(parameter_name, parameter)
    model.save_pretrained(folder)
    return folder


def _padded(name: str) -> dict[str, Any]:
    """Some set apart row 0 or 1 of the embedding for padding, which here are ordinary tokens."""
    return (
        {}
        if name.startswith(("gpt2", "gpt-bigcode", "gpt-j", "gpt-neo", "neox", "falcon", "mpt"))
        else {"pad_token_id": None}
    )


def _spread(name: str, parameter: nn.Parameter) -> None:
    """Norms and biases are made 1 and 0: weights and biases of their own show what forgets them."""
    if parameter.dim() == 1:
        parameter.add_(torch.randn_like(parameter), alpha=0.2)


Maker = Callable[[Path], Path]
