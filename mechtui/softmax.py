"""Where scores and pattern of an attention are met that is not written by us: at the softmax that it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def softmax_stood_in(instead: Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor]) -> Iterator[None]:
    """Within, `instead` is asked for every softmax: it gets the tensor, and the softmax as it was meant."""
    owners: list[tuple[Any, str]] = [(nn.functional, "softmax"), (torch, "softmax"), (Tensor, "softmax")]
    were = [getattr(owner, name) for owner, name in owners]
    within: list[bool] = []

    def standing(was: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def softmax(value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            if within:
                return was(value, *args, **kwargs)
            within.append(True)
            try:
                return instead(value, lambda changed: was(changed, *args, **kwargs))
            finally:
                within.pop()

        return softmax

    for (owner, name), was in zip(owners, were, strict=True):
        setattr(owner, name, standing(was))
    try:
        yield
    finally:
        for (owner, name), was in zip(owners, were, strict=True):
            setattr(owner, name, was)
