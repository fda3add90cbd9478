"""A residual stream that grows layer by layer, and most at the first token."""

from __future__ import annotations

import numpy as np

from mechtui.views.example import COUNT, SHAPE, Example, numbers
from mechtui.views.residual import Residual, ResidualAnswer


def example() -> Example:
    return Example(Residual(), _answer(0), _answer(1))


def _answer(seed: int) -> ResidualAnswer:
    layers = SHAPE.n_layers
    sites = (*(f"L{layer}.pre" for layer in range(layers)), f"L{layers - 1}.post")
    norm = np.linspace(5, 60, layers + 1, dtype=np.float32)[:, None] * numbers(seed, layers + 1, COUNT, low=0.7)
    norm[3:-1, 0] = 300
    attn, mlp = (numbers(seed + more, layers, COUNT, high=9) for more in (10, 20))
    return ResidualAnswer(sites, norm, attn, mlp)
