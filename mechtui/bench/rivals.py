"""The same answers without the engine: full runs of the bridge as its users write them, and the bare blocks."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def answers_by_full_run(bridge: Any, tokens: Tensor, hooks: Sequence[tuple[str, Callable[..., Any]]]) -> Tensor:
    """One hooked run with a cache of what the panes show, and their numbers: the top tokens, the residual's
    norms, what attention and MLPs wrote, every head's entropy, one head's pattern. Returns logits [d_vocab]."""
    n_layers = bridge.cfg.n_layers
    parts = ("hook_resid_pre", "hook_attn_out", "hook_mlp_out", "attn.hook_pattern")
    names = [f"blocks.{layer}.{part}" for layer in range(n_layers) for part in parts]
    names.append(f"blocks.{n_layers - 1}.hook_resid_post")
    with torch.inference_mode(), bridge.hooks(fwd_hooks=list(hooks)):
        logits, cache = bridge.run_with_cache(tokens, names_filter=names)
        logits[0, -1].softmax(-1).topk(10)
        for part in parts[:3]:
            torch.stack([cache[f"blocks.{layer}.{part}"][0].norm(dim=-1) for layer in range(n_layers)]).cpu()
        cache[names[-1]][0].norm(dim=-1).cpu()
        rows = torch.stack([cache[f"blocks.{layer}.attn.hook_pattern"][0, :, -1] for layer in range(n_layers)])
        torch.special.entr(rows).sum(-1).cpu()
        cache["blocks.0.attn.hook_pattern"][0, 0].cpu()
    last: Tensor = logits[0, -1]
    return last


def scaled_head(layer: int, head: int, factor: float) -> tuple[str, Callable[..., Tensor]]:
    def hook(z: Tensor, hook: Any) -> Tensor:
        z = z.clone()
        z[:, :, head] *= factor
        return z

    return f"blocks.{layer}.attn.hook_z", hook


def zero_sweep(bridge: Any, tokens: Tensor, metric: Callable[[Tensor], Tensor]) -> Tensor:
    """[layer, head]: the metric of one full run per head."""
    values = torch.zeros(bridge.cfg.n_layers, bridge.cfg.n_heads)
    with torch.inference_mode():
        for layer in range(bridge.cfg.n_layers):
            for head in range(bridge.cfg.n_heads):
                logits = bridge.run_with_hooks(tokens, fwd_hooks=[scaled_head(layer, head, 0.0)])
                values[layer, head] = metric(logits)
    return values


def patching_sweep(
    bridge: Any, tokens: Tensor, source: Tensor, metric: Callable[[Tensor], Tensor], what: str
) -> Tensor:
    """transformer_lens.patching over heads (`what` "heads": [layer, head]) or the residual ("resid": [layer, pos])."""
    from transformer_lens import patching

    sweep = {"heads": patching.get_act_patch_attn_head_out_all_pos, "resid": patching.get_act_patch_resid_pre}[what]
    with torch.inference_mode(), contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        _, cache = bridge.run_with_cache(source)
        values: Tensor = sweep(bridge, tokens, cache, metric)
    return values.cpu()


class Floor:
    """The blocks from a layer on, from that layer's residual, and one position's logits; no hooks, no cache."""

    def __init__(self, bridge: Any, tokens: Tensor) -> None:
        self.bridge = bridge
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        handles = [block.register_forward_pre_hook(self._record, with_kwargs=True) for block in bridge.blocks]
        try:
            with torch.inference_mode():
                bridge(tokens)
        finally:
            for handle in handles:
                handle.remove()

    def _record(self, block: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        from transformers.cache_utils import Cache

        def without(value: Any) -> Any:
            return None if isinstance(value, Cache) else value

        plain = {name: without(value) for name, value in kwargs.items()}
        plain["use_cache"] = False
        self.calls.append((tuple(without(value) for value in args), plain))

    def run(self, layer: int) -> Tensor:
        """Logits [d_vocab] of the last position."""
        with torch.inference_mode():
            args, kwargs = self.calls[layer]
            given = args[0] if args else kwargs["hidden_states"]
            residual = given
            for block, (its_args, its_kwargs) in zip(list(self.bridge.blocks)[layer:], self.calls[layer:], strict=True):
                if its_args:
                    output = block(residual, *its_args[1:], **its_kwargs)
                else:
                    output = block(**{**its_kwargs, "hidden_states": residual})
                residual = output[0] if isinstance(output, tuple) else output
            logits: Tensor = self.bridge.unembed(self.bridge.ln_final(residual[:, -1:]))[0, -1]
            return logits


def touched_bytes(bridge: Any, layer: int) -> int:
    """Bytes of the weights that a run of the blocks from `layer` on must read, and of the unembedding."""
    blocks = list(bridge.blocks)[layer:]
    tensors = {
        parameter.data_ptr(): parameter.numel() * parameter.element_size()
        for module in (*blocks, bridge.unembed)
        for parameter in module.parameters()
    }
    return sum(tensors.values())
