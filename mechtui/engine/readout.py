"""How a model reads its residual stream at the end.

Nothing here goes by a model's name: what a norm does is measured on it (whether it centres, its weight as it acts, its
bias), and what stands behind the unembedding is asked of the bridge's adapter.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from mechtui.engine.forward.packed_linear import PackedLinear, can_be_packed, close
from mechtui.engine.weights import W_U, inner, unembedding_column


class Norm:
    """norm(x) = (x - its mean, where it centres) * weight / scale(x) + bias, for x [..., d_model].

    module: the norm. eps: what it adds under the root. Raises ValueError for a norm of another kind.
    """

    def __init__(self, module: nn.Module, like: Tensor) -> None:
        self.eps = _eps(module)
        generator = torch.Generator().manual_seed(0)
        # Away from zero on the whole, so that centring is seen.
        one, two = ((torch.randn(like.shape[-1], generator=generator) + mean).to(like) for mean in (3, -1))
        with torch.inference_mode():
            self.bias = module(torch.zeros_like(one)).float()
            given = [(module(each) - self.bias).float() for each in (one, two)]
            for centres in (False, True):
                self.centres = centres
                self.weight = given[0] * self.scale(one) / self._centred(one)
                again = self._centred(two) * self.weight / self.scale(two)
                # Half precision rounds what is measured; a norm of the other kind is off by far more.
                rounding = 2 * torch.finfo(like.dtype).eps ** 0.5
                if (again - given[1]).norm() <= rounding * given[1].norm():
                    self.weight = _exact(module, self.weight, rounding)
                    return
        raise ValueError

    def _centred(self, x: Tensor) -> Tensor:
        x = x.float()
        return x - x.mean(-1, keepdim=True) if self.centres else x

    def scale(self, x: Tensor) -> Tensor:
        """[..., 1]"""
        scale: Tensor = (self._centred(x).pow(2).mean(-1, keepdim=True) + self.eps).sqrt()
        return scale

    def linear(self, x: Tensor) -> Tensor:
        """What the norm makes of a part of what it reads, but for its scale and bias."""
        part: Tensor = self._centred(x) * self.weight
        return part

    def of(self, x: Tensor) -> Tensor:
        """norm(x), float32."""
        normed: Tensor = self.linear(x) / self.scale(x) + self.bias
        return normed

    def transposed(self, direction: Tensor) -> Tensor:
        """The direction that reads of the stream what `direction` reads of linear(stream)."""
        return self._centred(direction * self.weight)


class Readout:
    """From what leaves the last block to logits."""

    def __init__(self, bridge: Any) -> None:
        self.bridge = bridge
        adapter = getattr(bridge, "adapter", None)
        self._behind = getattr(adapter, "apply_output_logits_transform", None)

    def logits(self, residual: Tensor) -> Tensor:
        """[..., pos, d_model] -> [..., pos, d_vocab]."""
        logits: Tensor = self.bridge.unembed(self.bridge.ln_final(residual))
        behind: Tensor = logits if self._behind is None else self._behind(logits)
        return behind

    def logits_of_many(self, residual: Tensor) -> Tensor:
        """The same to rounding, faster for many rows on a CPU: the unembedding is packed when this is first asked."""
        if self._packed is None:
            return self.logits(residual)
        logits = self._packed(self.bridge.ln_final(residual))
        return logits if self._behind is None else self._behind(logits)

    @cached_property
    def _packed(self) -> PackedLinear | None:
        module = inner(self.bridge.unembed)
        if not can_be_packed([module]):
            return None
        packed = PackedLinear(module)
        some = W_U(self.bridge)[:, :2].T.contiguous()
        return packed if close(packed(some), self.bridge.unembed(some)) else None

    @property
    def caps(self) -> bool:
        """Whether large logits are bent, so that no sum of contributions gives them."""
        return self._factor is None

    @property
    def times(self) -> float:
        """What logits are multiplied by behind the unembedding; 1 where they are capped, whose slope is not one
        number."""
        return 1.0 if self._factor is None else self._factor

    @property
    def _factor(self) -> float | None:
        if self._behind is None:
            return 1.0
        small, large = (float(x) for x in self._behind(torch.tensor([1.0, 1e4])))
        return small if abs(large - 1e4 * small) <= 1e-3 * abs(large) else None

    def norm(self) -> Norm:
        """The final norm. Raises ValueError for one of an unknown kind."""
        return Norm(self.bridge.ln_final, W_U(self.bridge)[:, 0])

    def column(self, token: int) -> Tensor:
        """[d_model] float32: what reads a token's logit from the normed residual."""
        return unembedding_column(self.bridge, token) * self.times

    def reads(self, normal: Tensor) -> Tensor:
        """[..., d_vocab] float32: the logits of normed directions [..., d_model], biases left out, before a cap."""
        weight = W_U(self.bridge)
        return (normal.to(weight.dtype) @ weight).float() * self.times


def _exact(module: Any, measured: Tensor, rounding: float) -> Tensor:
    """The weight that was measured, as the module holds it: itself, or what is added to 1."""
    own: Tensor | None = getattr(inner(module), "weight", None)
    if own is not None and own.shape == measured.shape:
        for weight in (own.detach().float(), own.detach().float() + 1):
            if (weight - measured).norm() <= rounding * measured.norm():
                return weight
    return measured


def _eps(module: Any) -> float:
    own = inner(module)
    for name in ("eps", "variance_epsilon", "epsilon"):
        value = getattr(own, name, None)
        if isinstance(value, float):
            return value
    return float(module.config.eps)
