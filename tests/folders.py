"""Tiny seeded models as Hugging Face folders, with a real byte-level BPE tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

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
