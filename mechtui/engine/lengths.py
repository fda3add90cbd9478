"""How long vectors are, however small or large their numbers."""

from __future__ import annotations

from torch import Tensor


def length(value: Tensor) -> float:
    """The L2 norm, of numbers however small or large: their squares alone could be 0 or infinite."""
    most = float(value.abs().max())
    return most * float((value / most).norm()) if most else 0.0


def typical(lengths: Tensor) -> float:
    """The median. A mean says nothing of activations: the first token's is often a hundred times as long as others'."""
    return float(lengths.float().quantile(0.5))


def direction(value: Tensor) -> Tensor:
    """The vector at length 1."""
    scaled = value / value.abs().max()
    unit: Tensor = scaled / scaled.norm()
    return unit
