"""Tiny seeded models as Hugging Face folders, or as a GGUF file, with a real byte-level BPE tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mechtui.embedded.network import Network, Shape, native_config, native_state

# Each becomes one token; Ġ is how the byte-level alphabet writes a space.
WORDS = (
    *("When", "ĠMary", "ĠJohn", "Ġand", "Ġwent", "Ġto", "Ġthe", "Ġstore"),
    *("Ġgave", "Ġa", "Ġdrink", "Ġbig", "Ġold", "Love", "Hate"),
)
END = "<|endoftext|>"


def tokenizer() -> PreTrainedTokenizerFast:
    """Every byte, and the words above: any text can be written."""
    vocab = {char: id for id, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        for end in range(1, len(word)):
            merges.append((word[:end], word[end]))
            vocab.setdefault(word[: end + 1], len(vocab))
    vocab[END] = len(vocab)
    bpe = Tokenizer(models.BPE(vocab=vocab, merges=list(dict.fromkeys(merges))))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=END, eos_token=END)


def gpt2(folder: Path, layers: int = 2) -> Path:
    """2 layers x 4 heads, width 32, context 64."""
    words = tokenizer()
    words.save_pretrained(folder)
    torch.manual_seed(0)
    # Wide weights: with the usual .02 every head attends evenly and a test sees nothing.
    config = GPT2Config(
        n_layer=layers, n_head=4, n_embd=32, vocab_size=len(words), n_positions=64, initializer_range=0.2,
        bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id,
    )  # fmt: skip
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def llama(folder: Path, layers: int = 2) -> Path:
    """2 layers x 6 heads in 2 key-value groups, width 36, context 64."""
    words = tokenizer()
    words.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        num_hidden_layers=layers, num_attention_heads=6, num_key_value_heads=2, hidden_size=36, intermediate_size=48,
        vocab_size=len(words), max_position_embeddings=64, initializer_range=0.2, pad_token_id=None,
        bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def attention_only(folder: Path, layers: int = 2) -> tuple[Path, Network]:
    """2 layers x 4 heads, width 32, context 64, no MLP; and its weights as they were trained, if they had been."""
    words = tokenizer()
    words.save_pretrained(folder)
    shape = Shape(n_layers=layers, n_heads=4, d_model=32, d_mlp=0, n_ctx=64, n_vocab=len(words))
    network = Network(shape, seed=0)
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        # The file holds half precision.
        parameter.data = (parameter.data + 0.2 * torch.randn(parameter.shape, generator=generator)).half().float()
    save_file(native_state(network), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(native_config(shape, words.eos_token_id)))
    return folder, network


GGUF_LAYERS, GGUF_WIDTH, GGUF_HEADS, GGUF_MLP, GGUF_CONTEXT = 2, 32, 4, 64, 64
GGUF_WORDS = ["<s>", "ab", *"abcdefghijklmnopqrstuvwxyz", "\u0120"]


def _gguf_tensors() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "token_embd.weight", (len(GGUF_WORDS), GGUF_WIDTH)
    yield "output_norm.weight", (GGUF_WIDTH,)
    yield "output.weight", (len(GGUF_WORDS), GGUF_WIDTH)
    for layer in range(GGUF_LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{layer}.{name}.weight", (GGUF_WIDTH, GGUF_WIDTH)
        for name in ("ffn_gate", "ffn_up"):
            yield f"blk.{layer}.{name}.weight", (GGUF_MLP, GGUF_WIDTH)
        yield f"blk.{layer}.ffn_down.weight", (GGUF_WIDTH, GGUF_MLP)
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{layer}.{name}.weight", (GGUF_WIDTH,)


def gguf(path: Path, without: str = "", nan: str = "", layers: int = GGUF_LAYERS) -> Path:
    """A llama of random weights, in a file. without, nan: a tensor that is left out, one that holds a NaN."""
    from gguf import GGUFWriter

    writer: Any = GGUFWriter(path, "llama")
    writer.add_block_count(layers)
    writer.add_context_length(GGUF_CONTEXT)
    writer.add_embedding_length(GGUF_WIDTH)
    writer.add_feed_forward_length(GGUF_MLP)
    writer.add_head_count(GGUF_HEADS)
    writer.add_head_count_kv(GGUF_HEADS)
    writer.add_rope_dimension_count(GGUF_WIDTH // GGUF_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(GGUF_WORDS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(GGUF_WORDS)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    random = np.random.default_rng(0)
    for name, shape in _gguf_tensors():
        if name == without:
            continue
        values = random.standard_normal(shape).astype(np.float32)
        if name == nan:
            values.flat[0] = np.nan
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
