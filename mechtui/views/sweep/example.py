"""A sweep over heads that two thirds through was not yet done, where a few heads matter much more than the others."""

from __future__ import annotations

import numpy as np

from mechtui.views.example import SHAPE, Example
from mechtui.views.sweep import Left, Sweep, SweepAnswer

STRONG = {(9, 9): -3.04, (9, 6): -2.18, (5, 5): -1.68, (8, 6): -1.31, (10, 7): 1.28, (11, 10): 0.92, (0, 1): -0.61}

LINES = (
    *("sweep zero L*H*", "sweep patch L*.pre", "sweep zero L*H* estimate", "sweep mean L*H0-1.v @1-3"),
    *("sweep patch L1H*", "sweep add L*.mlp n x2", "sweep scale L0.attn x2", "sweep resample L0H* seed3"),
    *("sweep freeze L1.mlp", "sweep zero L*.mid", "sweep patch L*.mid", "sweep add L1.mid t"),
    *("sweep zero L*H*.pattern @-1", "sweep patch L1H*.k estimate", "sweep mean L*H*.scores estimate"),
    *("sweep scale L*.mid x2 estimate", "sweep patch L*.pre ig3 estimate", "sweep patch L1H* ig2"),
    *("sweep mean L*H*.scores", "sweep patch L1H*.pattern", "sweep noise L*H1-2.scores sd1", "sweep cut L*H* -1>0"),
    *("sweep zero L0H1 over cases", "sweep zero L*.attn over cases", "sweep zero L1H0-1 @end over cases"),
)
# No program finds what a case names.
REFUSED = LINES[-2:]


def example() -> Example:
    return Example(
        Sweep(), _answer(0, 6.12, None), _answer(1, 4.87, Left(SHAPE.n_layers * SHAPE.n_heads, 131, 3.2, 90 * 10**6))
    )


def _answer(seed: int, baseline: float, left: Left | None) -> SweepAnswer:
    size = (SHAPE.n_layers, SHAPE.n_heads)
    values = np.random.default_rng(seed).normal(0, 0.15, size).astype(np.float32)
    for place, effect in STRONG.items():
        values[place] = effect * (1 - seed / 4)
    # Good but for the strongest, of which it says half, and for one that it takes for nothing.
    estimates = values * np.where(np.abs(values) > 2, 0.45, 0.9).astype(np.float32)
    estimates[10, 7] = -0.2
    if left is not None:
        values.ravel()[left.done :] = np.nan
    rows, columns = (tuple(f"{name}{i}" for i in range(count)) for name, count in zip("LH", size, strict=True))
    return SweepAnswer(rows, columns, "logit_diff", values, baseline, None, left, estimates)
