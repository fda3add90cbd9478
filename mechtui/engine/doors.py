"""A block's attention as Hugging Face wrote it, with doors where edits act and views look.

The bridge computes most attentions anew, and of the rest it only shows the pattern. Here the model's own attention
runs: scores and pattern pass where it takes its softmax; queries, keys and values of a fused projection where they
leave it. What the model does to its scores (windows, alibi, soft caps, scales) need not be known.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mechtui.engine.inside import replaced
from mechtui.engine.written import Tap
from mechtui.worker.bridge import BRIDGES_CACHE, cache_name
from mechtui.worker.softmax import softmax_stood_in

SCORES, PATTERN = "hook_attn_scores", "hook_pattern"
FUSED = ("hook_q", "hook_k", "hook_v")


class Doors:
    """The attentions of one model's blocks. d_head: width of a head."""

    def __init__(self, blocks: Sequence[nn.Module], d_head: int) -> None:
        self.blocks = blocks
        self.d_head = d_head
        self._columns: dict[int, list[Tensor]] = {}

    def hooks(self, layer: int) -> tuple[str, ...]:
        """Names within the block's attention of what passes here rather than at the bridge's hook points."""
        return (SCORES, PATTERN, *FUSED) if self._fused(layer) is not None else (SCORES, PATTERN)

    @property
    def fused(self) -> bool:
        """Whether some block has one projection for queries, keys and values."""
        return any(self._fused(layer) is not None for layer in range(len(self.blocks)))

    @contextmanager
    def opened(self, layer: int, tap: Tap) -> Iterator[None]:
        """Within, this block's attention is the model's own, and what passes its doors passes the tap."""
        attn: Any = self.blocks[layer].attn
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
            fused = self._fused(layer)
            if fused is not None:
                handle = fused.register_forward_hook(lambda _module, _inputs, output: self._parts(layer, tap, output))
                stack.callback(handle.remove)
            project = attn.o.original_component
            if not any(module is attn.o for module in own.modules()):
                plain = project.forward
                stack.enter_context(replaced(project, lambda z: attn.o.hook_out(plain(attn.o.hook_in(z)))))
            yield

    def _fused(self, layer: int) -> nn.Module | None:
        """The module that gives queries, keys and values at once; None where there are three."""
        attn: Any = self.blocks[layer].attn
        fused: nn.Module | None = getattr(attn, "qkv", None) if hasattr(attn, "split_qkv_matrix") else None
        return fused

    def _parts(self, layer: int, tap: Tap, output: Tensor) -> Tensor:
        changed = output
        for hook, columns in zip(FUSED, self._places(layer), strict=True):
            part = output[..., columns]
            told = part.view(*part.shape[:-1], -1, self.d_head)
            new = tap(f"attn.{hook}", told)
            if new is not told:
                changed = changed.clone() if changed is output else changed
                changed[..., columns] = new.reshape(part.shape)
        return changed

    def _places(self, layer: int) -> list[Tensor]:
        """Of q, k and v the columns of the fused output, head by head: the bridge's own split, of their numbers."""
        if layer not in self._columns:
            attn: Any = self.blocks[layer].attn
            with torch.inference_mode(False), torch.no_grad():
                numbered = copy.deepcopy(attn.qkv.original_component).float()
                linear = isinstance(numbered, nn.Linear)
                count = numbered.weight.shape[0 if linear else 1]
                numbers = torch.arange(count, dtype=torch.float32, device=numbered.weight.device)
                numbers = numbers[:, None] if linear else numbers[None, :]
                numbered.weight = nn.Parameter(numbers.expand_as(numbered.weight).clone(), requires_grad=False)
                parts = attn.split_qkv_matrix(_Standing(attn.original_component, attn.qkv.name, numbered))
            self._columns[layer] = [part.weight[:, 0].round().long() for part in parts]
        return self._columns[layer]


class _Standing:
    """An attention of which one module is another."""

    def __init__(self, own: nn.Module, name: str, module: nn.Module) -> None:
        self._own = own
        setattr(self, name, module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)
