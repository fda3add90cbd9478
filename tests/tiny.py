"""A GPT-2-shaped checkpoint with random weights and a tokenizer that has one token per byte: made in a second,
loaded in one more, and as good as any for asking whether two ways of computing agree."""

from __future__ import annotations

from pathlib import Path

END = "<|endoftext|>"
LAYERS, HEADS, WIDTH, CONTEXT = 3, 4, 32, 96


def make(folder: Path) -> Path:
    """Write the checkpoint into `folder` -> the folder."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {END: 0} | {letter: number for number, letter in enumerate(alphabet, 1)}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END, unk_token=END)
    fast.save_pretrained(folder)
    config = GPT2Config(
        vocab_size=len(vocabulary),
        n_layer=LAYERS,
        n_head=HEADS,
        n_embd=WIDTH,
        n_positions=CONTEXT,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.2,  # wide, so that what an edit does is well above the rounding
    )
    torch.manual_seed(0)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder
