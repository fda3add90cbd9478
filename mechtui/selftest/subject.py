"""The model under test: a bridge and a tokenizer, asked for logits, activations and weights."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Hook = tuple[str, Callable[..., Tensor]]


@dataclass
class Subject:
    """A model on the processor in float32.

    Attributes:
        name: as the user asked for it.
        bridge: a TransformerBridge, weights as in the checkpoint (nothing folded).
        tokenizer: a Hugging Face tokenizer.
        load_seconds: from the first look at the folder to the first next-token prediction, imports not counted.
    """

    name: str
    bridge: Any
    tokenizer: Any
    load_seconds: float

    @property
    def n_layers(self) -> int:
        return int(self.bridge.cfg.n_layers)

    @property
    def n_heads(self) -> int:
        return int(self.bridge.cfg.n_heads)

    @property
    def attn_only(self) -> bool:
        return bool(getattr(self.bridge.cfg, "attn_only", False))

    @property
    def bos(self) -> int:
        """The token put before every prompt."""
        token = self.tokenizer.bos_token_id
        return int(token if token is not None else self.tokenizer.eos_token_id)

    @property
    def n_vocab(self) -> int:
        return int(self.bridge.cfg.d_vocab)

    def ids(self, text: str) -> list[int]:
        """Ids of a text, nothing put before it."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def token(self, word: str) -> int | None:
        """The id of a text that is one token, otherwise None."""
        ids = self.ids(word)
        return ids[0] if len(ids) == 1 else None

    def batch(self, prompts: list[list[int]]) -> tuple[Tensor, Tensor]:
        """Ids [prompt, pos], bos first and filled up at the end, and the last position of each [prompt].

        Attention looks back only, so what fills up changes nothing before it.
        """
        longest = max(map(len, prompts)) + 1
        rows = [[self.bos, *p] + [self.bos] * (longest - 1 - len(p)) for p in prompts]
        return torch.tensor(rows), torch.tensor([len(p) for p in prompts])

    @torch.no_grad()
    def logits(self, tokens: Tensor, hooks: list[Hook] | None = None) -> Tensor:
        """Ids [batch, pos] -> logits [batch, pos, vocab]."""
        logits: Tensor = self.bridge.run_with_hooks(tokens, fwd_hooks=hooks) if hooks else self.bridge(tokens)
        return logits

    @torch.no_grad()
    def run(self, tokens: Tensor, names: list[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits, and the activations of these hook names."""
        kept: dict[str, Tensor] = {}

        def keeping(name: str) -> Callable[..., Tensor]:
            # A name can be an alias of another hook; keep it under the name that was asked for.
            def keep(activation: Tensor, hook: Any) -> Tensor:
                kept[name] = activation.detach()
                return activation

            return keep

        logits = self.logits(tokens, [(name, keeping(name)) for name in names])
        return logits, kept

    def patterns(self, tokens: Tensor) -> Tensor:
        """Attention patterns [layer, batch, head, query, key]."""
        names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(self.n_layers)]
        _, kept = self.run(tokens, names)
        return torch.stack([kept[name] for name in names])


def load(model: str) -> Subject:
    """Load an embedded model by name, or any model that transformers can load from a folder or by name.

    Raises:
        OSError: there is no such model.
    """
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from mechtui.embedded import MODELS, native

    began = time.perf_counter()
    folder = MODELS.get(model, Path(model))
    if native.is_native(folder):
        bridge = native.load(folder)
        tokenizer = bridge.tokenizer
    else:
        place = str(folder) if folder.exists() else model
        tokenizer = AutoTokenizer.from_pretrained(place)
        hf_model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, attn_implementation="eager")
        bridge = TransformerBridge.boot_transformers(model, hf_model=hf_model, tokenizer=tokenizer)
    subject = Subject(model, bridge.eval(), tokenizer, 0.0)
    subject.logits(torch.tensor([[subject.bos] * 16]))
    subject.load_seconds = time.perf_counter() - began
    return subject
