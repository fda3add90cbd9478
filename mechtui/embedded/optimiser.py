"""Muon for the hidden matrices, Adam for the rest.

Muon (Jordan et al. 2024) replaces the momentum of a matrix by the nearest matrix with all singular values near
one. On these small networks the circuits appear in a fraction of the steps that AdamW needs. Written here for
stacks of equal shapes, since 24 small iterations cost more than two batched ones.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """Newton-Schulz iteration on [n, rows, columns], rows <= columns: singular values go to about 1."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x: Tensor = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


class MuonAdam:
    """Both optimisers in one; `state_dict` holds tensors and numbers only."""

    def __init__(self, matrices: list[Tensor], others: list[Tensor], *, weight_decay: float = 0.01) -> None:
        self.matrices = matrices
        self.momenta = [torch.zeros_like(m) for m in matrices]
        self.weight_decay = weight_decay
        self.adam = torch.optim.AdamW(others, betas=(0.9, 0.98), eps=1e-9, weight_decay=0.0, fused=True)

    @torch.no_grad()
    def step(self, matrix_rate: float, other_rate: float, momentum: float = 0.95) -> None:
        """One update from the gradients, which are cleared."""
        groups: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for parameter, buffer in zip(self.matrices, self.momenta, strict=True):
            gradient = parameter.grad
            if gradient is None:
                continue  # of a layer that does not run yet
            buffer.lerp_(gradient, 1 - momentum)
            update = gradient.lerp(buffer, momentum)
            # Queries, keys and values lie side by side in one matrix but are three.
            rows, columns = parameter.shape
            width = rows if columns == 3 * rows else columns
            for piece, target in zip(torch.split(update, width, 1), torch.split(parameter, width, 1), strict=True):
                if rows > width:
                    piece, target = piece.T, target.T  # noqa: PLW2901
                groups[(piece.shape[0], piece.shape[1])].append((piece, target))
            parameter.grad = None
        for (rows, columns), pairs in groups.items():
            updates = orthogonalise(torch.stack([piece for piece, _ in pairs]))
            scale = max(1.0, columns / rows) ** 0.5
            for update, (_, target) in zip(updates, pairs, strict=True):
                target.mul_(1 - matrix_rate * self.weight_decay).add_(update, alpha=-matrix_rate * scale)
        for group in self.adam.param_groups:
            group["lr"] = other_rate
        self.adam.step()
        self.adam.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        return {"momenta": self.momenta, "adam": self.adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for buffer, saved in zip(self.momenta, state["momenta"], strict=True):
            buffer.copy_(saved)
        self.adam.load_state_dict(state["adam"])
