"""A layer's MLP as neurons: what each reads, by how much, and the direction that it writes.

A neuron is post = act(x @ W_in + b_in), or in gated MLPs act(x @ W_gate + b_gate) * (x @ W_in + b_in), of the normed
stream x, and writes post times its row of W_out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mechtui.engine import weights
from mechtui.engine.circuits import TOKENS_AT_ONCE, norm_of
from mechtui.engine.errors import SessionError
from mechtui.engine.readout import Norm

# What opens some neurons of a layer: directions [d_model, neuron], constants [neuron], the norm that they read through.
Opening = tuple[Tensor, Tensor, Norm | None]


class Mlp:
    """One layer's. gated: whether a gate stands before each neuron. Raises SessionError where the bridge does not keep
    what neurons read neuron by neuron. name: the model's."""

    def __init__(self, bridge: Any, layer: int, name: str) -> None:
        self._bridge, self._layer = bridge, layer
        into, self._gate = (weights.mlp_reading(bridge, layer, each) for each in ("W_in", "W_gate"))
        if into is None:
            raise SessionError(
                f"{name} does not keep what its neurons read neuron by neuron: its MLPs are of another kind"
            )
        self._into = into
        self.gated = self._gate is not None
        block, like = bridge.blocks[layer], weights.W_U(bridge)[:, 0]
        try:
            # Parallel blocks may have one norm before both of their parts.
            self._before = norm_of(block, "ln2", like) or norm_of(block, "ln1", like)
            self._behind = norm_of(block, "ln2_post", like)
        except ValueError as error:
            raise SessionError(f"a norm of {name} is of a kind that its neurons cannot be read through") from error

    def _read_by(self, which: str, neurons: Sequence[int]) -> tuple[Tensor, Tensor]:
        """[d_model, neuron] and [neuron]: weight and bias of W_in or W_gate."""
        weight = self._into if which == "in" else self._gate
        assert weight is not None
        at = torch.tensor(list(neurons), device=weight.device)
        return weight[:, at].float(), weights.mlp_bias(self._bridge, self._layer, f"b_{which}", weight)[at]

    @property
    def opens(self) -> str:
        """What decides whether a neuron is on: its gate, where it has one."""
        return "gate" if self.gated else "in"

    @torch.inference_mode()
    def pre(self, normed: Tensor, neurons: Sequence[int], which: str) -> Tensor:
        """[pos, d_model], the normed stream that the MLP reads -> [neuron, pos], before the activation function. which:
        "in" or "gate"."""
        weight, bias = self._read_by(which, neurons)
        read: Tensor = (normed.float().to(weight.device) @ weight + bias).T
        return read

    @torch.inference_mode()
    def opening(self, neurons: Sequence[int]) -> Opening:
        """What opens each neuron, of a stream x: x @ direction [d_model, neuron] over the norm's scale of x, plus a
        constant [neuron]."""
        weight, bias = self._read_by(self.opens, neurons)
        norm = self._before
        if norm is None:
            return weight, bias, None
        return norm.transposed(weight.T).T, norm.bias.to(weight) @ weight + bias, norm

    @torch.inference_mode()
    def writes(self, neurons: Sequence[int]) -> Tensor:
        """[neuron, d_model]: what each adds to the stream at an activation of 1, but for the scale of a norm behind the
        MLP."""
        weight = weights.W_out(self._bridge, self._layer)
        rows = weight[torch.tensor(list(neurons), device=weight.device)].detach().float()
        return rows if self._behind is None else self._behind.linear(rows)


@torch.inference_mode()
def of_embeddings(bridge: Any, openings: Sequence[Opening]) -> Tensor:
    """[neuron, d_vocab]: what opens neurons, where the stream is one token's embedding alone. openings: of one layer
    each. The vocabulary is gone through once."""
    first = openings[0][0].device
    directions = torch.cat([direction.to(first) for direction, _, _ in openings], dim=1)
    constants = torch.cat([constant.to(first) for _, constant, _ in openings])
    embedding, parts = weights.W_E(bridge), []
    for begin in range(0, len(embedding), TOKENS_AT_ONCE):
        rows = embedding[begin : begin + TOKENS_AT_ONCE].float().to(first)
        scales: dict[tuple[float, bool] | None, Tensor] = {None: rows.new_ones(len(rows), 1)}
        columns = []
        for direction, _, norm in openings:
            key = None if norm is None else (norm.eps, norm.centres)
            if norm is not None and key not in scales:
                scales[key] = norm.scale(rows)
            columns.append(scales[key].expand(-1, direction.shape[1]))
        parts.append(rows @ directions / torch.cat(columns, dim=1) + constants)
    return torch.cat(parts).T
