"""A block's attention as Hugging Face wrote it, open where edits act and views look.

The bridge computes most attentions anew, and of the rest it only shows the pattern. Here the model's own attention
runs: scores and pattern pass the taps where it takes its softmax; queries, keys and values of a fused projection where
they leave it. What the model does to its scores (windows, alibi, soft caps, scales) need not be known.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mechtui.engine.forward.bridged_cache import BRIDGES_CACHE, cache_name
from mechtui.engine.forward.replaced import replaced
from mechtui.engine.forward.taps import PATTERN, QKV, SCORES, Tap
from mechtui.softmax import softmax_stood_in


class OwnAttention:
    """That of one block. attn: the bridge's part around it. d_head: width of a head.

    hooks: names within the attention of what passes the taps here rather than at the bridge's hook points.
    """

    def __init__(self, attn: Any, d_head: int) -> None:
        self.attn = attn
        self.d_head = d_head
        # The module that gives queries, keys and values at once; None where there are three.
        self.fused: nn.Module | None = getattr(attn, "qkv", None) if hasattr(attn, "split_qkv_matrix") else None
        self.hooks = (SCORES, PATTERN, *QKV) if self.fused is not None else (SCORES, PATTERN)
        self._columns: list[Tensor] = []

    @contextmanager
    def open(self, tap: Tap) -> Iterator[None]:
        """Within, the block's attention is the model's own, and what passes its open places passes the tap."""
        attn = self.attn
        own = attn.original_component

        def attend(scores: Tensor, softmax: Callable[[Tensor], Tensor]) -> Tensor:
            table = scores if scores.dim() == 4 else scores.view(-1, attn.config.n_heads, *scores.shape[-2:])
            pattern = softmax(tap(f"attn.{SCORES}", table).view_as(scores))
            return tap(f"attn.{PATTERN}", pattern.view_as(table)).view_as(pattern)

        def forward(*args: Any, **kwargs: Any) -> Any:
            if BRIDGES_CACHE in kwargs:
                kwargs[cache_name(own)] = kwargs.pop(BRIDGES_CACHE)
            with softmax_stood_in(attend):
                output = own(*args, **kwargs)
            if isinstance(output, tuple):
                return (attn.hook_out(output[0]), *output[1:])
            return attn.hook_out(output)

        with ExitStack() as stack:
            stack.enter_context(replaced(attn, forward))
            if self.fused is not None:
                handle = self.fused.register_forward_hook(lambda _module, _inputs, output: self._parts(tap, output))
                stack.callback(handle.remove)
            project = attn.o.original_component
            if not any(module is attn.o for module in own.modules()):
                plain = project.forward
                stack.enter_context(replaced(project, lambda z: attn.o.hook_out(plain(attn.o.hook_in(z)))))
            yield

    def _parts(self, tap: Tap, output: Tensor) -> Tensor:
        changed = output
        for hook, columns in zip(QKV, self._places(), strict=True):
            part = output[..., columns]
            told = part.view(*part.shape[:-1], -1, self.d_head)
            new = tap(f"attn.{hook}", told)
            if new is not told:
                changed = changed.clone() if changed is output else changed
                changed[..., columns] = new.reshape(part.shape)
        return changed

    def _places(self) -> list[Tensor]:
        """Of q, k and v the columns of the fused output, head by head: the bridge's own split, of their numbers."""
        if not self._columns:
            attn = self.attn
            with torch.inference_mode(False), torch.no_grad():
                numbered = copy.deepcopy(attn.qkv.original_component).float()
                linear = isinstance(numbered, nn.Linear)
                count = numbered.weight.shape[0 if linear else 1]
                numbers = torch.arange(count, dtype=torch.float32, device=numbered.weight.device)
                numbers = numbers[:, None] if linear else numbers[None, :]
                numbered.weight = nn.Parameter(numbers.expand_as(numbered.weight).clone(), requires_grad=False)
                parts = attn.split_qkv_matrix(_Standing(attn.original_component, attn.qkv.name, numbered))
                self._columns = [part.weight[:, 0].round().long() for part in parts]
        return self._columns


class _Standing:
    """An attention of which one module is another."""

    def __init__(self, own: nn.Module, name: str, module: nn.Module) -> None:
        self._own = own
        setattr(self, name, module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)
