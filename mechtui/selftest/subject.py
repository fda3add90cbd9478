"""The model under test: a bridge and a tokenizer, asked for logits, activations and weights."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from mechtui.engine.api import Engine
from mechtui.link.messages import Load
from mechtui.worker.models.load import load as load_model
from mechtui.worker.models.loaded import LoadedModel

Hook = tuple[str, Callable[..., Tensor]]


class CannotMeasure(ValueError):  # noqa: N818 - the model is no error
    """Something that cannot be measured on this model: one sentence that says why."""


@dataclass
class Subject:
    """A model on the processor in float32, weights as in the checkpoint (nothing folded).

    name: as the user asked for it. model: as the model process loads it. load_seconds: from the first look at the
    folder to the first next-token prediction, imports not counted.
    """

    name: str
    model: LoadedModel
    load_seconds: float

    @property
    def bridge(self) -> Any:
        """A TransformerBridge."""
        return self.model.bridge

    @property
    def tokenizer(self) -> Any:
        """A Hugging Face tokenizer."""
        return self.model.tokenizer

    @cached_property
    def engine(self) -> Engine:
        """mechtui's own, on this model."""
        return Engine(self.model)

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
        """The token put before every prompt; the first of the vocabulary where the tokenizer names none."""
        named = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id)
        return int(next((token for token in named if token is not None), 0))

    @property
    def n_vocab(self) -> int:
        return int(self.bridge.cfg.d_vocab)

    @property
    def n_ctx(self) -> int:
        return self.model.shape.n_ctx

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


def load(name: str) -> Subject:
    """Load a model as the app does, by any name that `--model` takes. Never downloads. Raises ModelError."""
    began = time.perf_counter()
    model = load_model(Load(name, device="cpu"), lambda *_: None, lambda: False)
    subject = Subject(name, model, 0.0)
    subject.logits(torch.tensor([[subject.bos] * min(16, subject.n_ctx)]))
    subject.load_seconds = time.perf_counter() - began
    return subject
