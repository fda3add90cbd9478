"""The arguments that a model gives its blocks: masks, rotations, and the like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mechtui.engine.forward.cache import Cache

_RESIDUAL, _CACHE = object(), object()


@dataclass(frozen=True)
class Call:
    """The arguments that the model gives a block, besides the residual and the cache."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __call__(self, block: nn.Module, residual: Tensor, cache: Cache | None) -> Tensor:
        def put(value: Any) -> Any:
            if value is _RESIDUAL:
                return residual
            return cache if value is _CACHE else value

        named = {name: put(v) for name, v in self.kwargs.items()}
        if named.get("alibi") is not None and len(residual) > 1:
            # Some add it to the scores of every row of the batch at once: [batch * head, 1, key].
            named["alibi"] = named["alibi"].repeat(len(residual), *[1] * (named["alibi"].dim() - 1))
        output = block(*(put(v) for v in self.args), **named)
        result: Tensor = output[0] if isinstance(output, tuple) else output
        return result

    def argument(self, order: Mapping[str, int], name: str) -> Any:
        """One of them by its name; None where it is not given. order: the places of the block's arguments."""
        if name in self.kwargs:
            return self.kwargs[name]
        place = order.get(name, len(self.args))
        return self.args[place] if place < len(self.args) else None


def recorded_call(
    args: tuple[Any, ...], kwargs: dict[str, Any], is_cache: Callable[[object], bool]
) -> tuple[Tensor, Call]:
    """What the model called a block with -> (the residual [batch, pos, d_model], the rest)."""
    residual = args[0] if args else kwargs["hidden_states"]

    def mark(value: Any) -> Any:
        if value is residual:
            return _RESIDUAL
        return _CACHE if is_cache(value) else value

    return residual, Call(tuple(mark(v) for v in args), {name: mark(v) for name, v in kwargs.items()})
