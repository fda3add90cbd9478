"""Which architecture has which fast block."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from mechtui.engine.forward.fast_blocks.fast_block import FastBlock, inner
from mechtui.engine.forward.fast_blocks.gpt2 import GPT2Block
from mechtui.engine.forward.fast_blocks.llama import LlamaBlock

# Name of Hugging Face's class of a block -> its fast block.
KINDS: dict[str, type[FastBlock]] = {
    "GPT2Block": GPT2Block,
    "LlamaDecoderLayer": LlamaBlock,
    "MistralDecoderLayer": LlamaBlock,
    "Qwen2DecoderLayer": LlamaBlock,
}


def fast_blocks(blocks: Sequence[nn.Module]) -> list[FastBlock]:
    """One for each of the bridge's blocks; none where the architecture is another, or where parts of it lie on several
    devices."""
    own = [inner(block) for block in blocks]
    kinds = [KINDS.get(type(each).__name__) for each in own]
    if None in kinds or any(hasattr(each, "_hf_hook") for each in own):
        return []
    try:
        return [kind(block, layer) for layer, (kind, block) in enumerate(zip(kinds, blocks, strict=True)) if kind]
    except AttributeError:  # a version of transformers that names the parts otherwise
        return []
