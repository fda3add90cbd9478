"""A dictionary of features, whatever format it was read from.

x is what it reads and y what it writes, rows of numbers; a feature's activation is how much of it there is in x, its
direction what it adds to y for each unit of that:

    x' = (x - shift) / scale                     shift 0 and scale 1, unless the format normalises each row
    pre = ((x' - minus) W_enc + b_enc) rescale
    acts = relu(pre), of which some stay: all (standard), those above a threshold (jumprelu), the k largest (topk), or
           those whose gate is open (gated: pre > 0, acts = relu(x'' W_enc exp(r_mag) + b_mag))
    y = (acts D + b_dec) scale + shift + x W_skip    D: the rows of W_dec, times factor, over rescale

Weights stay in the precision in which they were written, and may lie in a file that is mapped into memory; all is
computed in float32, from as many of them at once as fit into a few megabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from mechtui.engine.errors import SessionError
from mechtui.session.dictionaries import About
from mechtui.session.document import Point
from mechtui.session.sites import point_hook

Kind = Literal["standard", "gated", "topk", "jumprelu"]
Normalises = Literal["none", "layer_norm", "constant_norm_rescale"]
# Numbers of half-precision weights that are float32 at once, and activations of all features that are.
AT_ONCE, ACTIVATIONS_AT_ONCE = 1 << 23, 1 << 24


def nothing() -> None:
    """Nothing is done between two parts of a work."""


class DictionaryError(SessionError):
    """A dictionary that cannot be had, or is none for this model: one sentence."""


class Active(NamedTuple):
    """The features that are on, sorted by position: positions, features [n] whole numbers, values [n] float32."""

    positions: Tensor
    features: Tensor
    values: Tensor

    def at(self, position: int) -> tuple[Tensor, Tensor]:
        """Features and values at a position."""
        here = self.positions == position
        return self.features[here], self.values[here]


class Gate(NamedTuple):
    """Of a gated dictionary: r_mag, b_mag [feature]; its b_enc is the gate's."""

    r_mag: Tensor
    b_mag: Tensor


@dataclass(frozen=True, eq=False)
class Dictionary:
    """name: what the session calls it. format: whose. made_on: the model's name as its files say it; empty where they
    do not. reads, writes: where. file: its weights. mark: another for other files.

    W_enc [d_in, feature], b_enc [feature], W_dec [feature, d_out], b_dec [d_out]; minus [d_in]. threshold [feature]: of
    jumprelu. k: of topk. gate: of gated. rescale, factor [feature]; W_skip [d_out, d_in].

    restores: whether what normalising takes from x is given back to y.

    centred: it reads and writes the stream as TransformerLens has it with centred weights, less its mean over d_model.
    folded: whether the weights of the norm before `in` lie in what reads it; None where nobody minds. unbiased: whether
    its z is without the values' bias. bos: whether its
    texts began with BOS; None where its files do not say.
    """

    name: str
    format: str
    kind: Kind
    reads: Point
    writes: Point
    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    minus: Tensor | None = None
    threshold: Tensor | None = None
    k: int | None = None
    gate: Gate | None = None
    rescale: Tensor | None = None
    factor: Tensor | None = None
    W_skip: Tensor | None = None
    normalises: Normalises = "none"
    restores: bool = True
    centred: bool = False
    folded: bool | None = None
    unbiased: bool = False
    bos: bool | None = None
    made_on: str = ""
    file: str = ""
    mark: bytes = b""

    @property
    def n_features(self) -> int:
        return self.W_dec.shape[0]

    @property
    def d_in(self) -> int:
        return self.W_enc.shape[0]

    @property
    def d_out(self) -> int:
        return self.W_dec.shape[1]

    @property
    def transcodes(self) -> bool:
        """Whether it writes elsewhere than it reads."""
        return self.reads != self.writes

    @property
    def hooks(self) -> tuple[str, str]:
        """TransformerLens's names of where it reads and where it writes."""
        return point_hook(self.reads), point_hook(self.writes)

    @property
    def about(self) -> About:
        """What a program needs to read it."""
        reads, writes = self.hooks
        return About(
            self.name,
            self.format,
            self.kind,
            self.file,
            reads,
            writes,
            self.n_features,
            self.d_in,
            self.k,
            self.minus is not None,
            self.normalises,
            self.restores,
            self.centred,
            self.rescale is not None,
            self.factor is not None,
            self.W_skip is not None,
            self.made_on,
        )

    def rows(self, activation: Tensor) -> Tensor:
        """What passes where it reads or writes [pos, ...] -> as it has it [pos, width], float32."""
        rows = activation.flatten(1).float()
        return rows - rows.mean(-1, keepdim=True) if self.centred else rows

    # Rows that are read

    def encode(self, x: Tensor) -> Tensor:
        """[..., d_in] -> activations [..., feature], float32. Raises DictionaryError where weights are no numbers."""
        rows = self._rows(x)
        acts = torch.cat([self._acts(part) for part in torch.split(rows, self._rows_at_once)])
        return acts.view(*x.shape[:-1], self.n_features)

    def active(self, x: Tensor, between: Callable[[], None] = nothing) -> Active:
        """Of [pos, d_in] the features that are on. between: is called between two parts of the work. Raises
        DictionaryError, and what that raises."""
        parts, begin = [], 0
        for rows in torch.split(self._rows(x), self._rows_at_once):
            acts = self._acts(rows, between)
            positions, features = acts.nonzero(as_tuple=True)
            parts.append((positions + begin, features, acts[positions, features]))
            begin += len(rows)
        return Active(*(torch.cat(of) for of in zip(*parts, strict=True)))

    def decode(self, acts: Tensor, x: Tensor) -> Tensor:
        """Activations [..., feature] -> what it writes [..., d_out], float32. x [..., d_in]: what was read, which
        decides how far the format's own normalising is undone, and what is skipped. Raises DictionaryError."""
        rows = acts.reshape(-1, self.n_features).to(self.W_dec.device)
        positions, features = rows.nonzero(as_tuple=True)
        found = self.decoded(Active(positions, features, rows[positions, features].float()), self._rows(x))
        return found.view(*acts.shape[:-1], self.d_out)

    def decoded(self, active: Active, x: Tensor) -> Tensor:
        """The same of the features that are on, at each row of x [pos, d_in]."""
        rows = self._rows(x)
        shift, scale = self._restored(rows)
        written = (self.summed(active, len(rows)) + self.b_dec.float()) * scale + shift
        return written if self.W_skip is None else written + self.skipped(rows)

    def summed(self, active: Active, count: int) -> Tensor:
        """[count, d_out]: of each position the sum of its features' directions, times their activations."""
        total = torch.zeros(count, self.d_out, device=self.W_dec.device)
        which, at = torch.unique(active.features, return_inverse=True)
        for begin, part in self._parts(which):
            here = (at >= begin) & (at < begin + len(part))
            acts = torch.zeros(count, len(part), device=total.device)
            acts[active.positions[here], at[here] - begin] = active.values[here]
            total += acts @ self._directions(part)
        return self._finite(total, "its decoder")

    def scale(self, x: Tensor) -> Tensor:
        """[..., 1]: what a feature's write is multiplied by in a row of x."""
        return self._restored(x.float())[1]

    def constant(self, x: Tensor) -> Tensor:
        """[pos, d_out]: what it writes whatever its features are: b_dec, and what normalising had taken away."""
        rows = self._rows(x)
        shift, scale = self._restored(rows)
        return (self.b_dec.float() * scale + shift).expand(len(rows), -1)

    def skipped(self, x: Tensor) -> Tensor:
        """[pos, d_out]: what goes around the features."""
        rows = self._rows(x)
        return rows.new_zeros(len(rows), self.d_out) if self.W_skip is None else rows @ self.W_skip.float().T

    def directions(self, features: Sequence[int]) -> Tensor:
        """[feature, d_out] float32: what each of these writes per unit of activation, where nothing is normalised.
        Raises DictionaryError."""
        return self._finite(self._directions(torch.tensor(list(features), dtype=torch.long)), "its decoder")

    def direction(self, feature: int) -> Tensor:
        """[d_out] float32."""
        return self.directions([feature])[0]

    # Some of its features

    def some(self, first: int, last: int) -> Dictionary:
        """It with these features alone, both included; of topk, where each depends on all others, itself."""
        if self.kind == "topk":
            return self
        own = slice(first, last + 1)
        gate = None if self.gate is None else Gate(*(each[own] for each in self.gate))
        one: dict[str, Any] = {
            name: None if (each := getattr(self, name)) is None else each[own]
            for name in ("threshold", "rescale", "factor")
        }
        return replace(self, W_enc=self.W_enc[:, own], b_enc=self.b_enc[own], W_dec=self.W_dec[own], gate=gate, **one)

    def added(self, change: Tensor, first: int, x: Tensor) -> Tensor:
        """[pos, d_out] float32: what is written more where x [pos, d_in] is read and features from `first` on are more
        by `change` [pos, feature]; 0 exactly where that is. Raises DictionaryError."""
        which = torch.arange(change.shape[1], device=change.device)
        if not torch.is_grad_enabled():  # else also of what is 0 now
            which = change.any(0).nonzero()[:, 0]
        total = change.new_zeros(len(change), self.d_out)
        for _, part in self._parts(which):
            total = total + change[:, part] @ self._directions(first + part)
        return self._finite(total, "its decoder") * self.scale(self._rows(x))

    # Within

    @property
    def _rows_at_once(self) -> int:
        return max(1, ACTIVATIONS_AT_ONCE // self.n_features)

    def _rows(self, x: Tensor) -> Tensor:
        return x.reshape(-1, self.d_in).to(self.W_enc.device, torch.float32)

    def _normal(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the format takes away from a row of x, and what it divides the rest by, [..., 1] each."""
        if self.normalises == "layer_norm":
            return x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
        if self.normalises == "constant_norm_rescale":
            return x.new_zeros(()), x.norm(dim=-1, keepdim=True) / self.d_in**0.5
        return x.new_zeros(()), x.new_ones(())

    def _restored(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The same as far as it is given back to what is written."""
        return self._normal(x) if self.restores else (x.new_zeros(()), x.new_ones(()))

    def _acts(self, x: Tensor, between: Callable[[], None] = nothing) -> Tensor:
        """[row, d_in] -> [row, feature]"""
        if not bool(x.isfinite().all()):
            raise DictionaryError(f"{self.name}: what it reads in this run is not finite (NaN or infinite)")
        shift, scale = self._normal(x)
        # As SAELens has it: what a row is divided by is a little more than what it is multiplied by afterwards.
        x = (x - shift) / (scale + 1e-5 if self.normalises == "layer_norm" else scale)
        x = x if self.minus is None else x - self.minus.float()
        read = self._finite(self._read(x, between), "its encoder")
        pre = read + self.b_enc.float()
        pre = pre if self.rescale is None else pre * self.rescale
        match self.kind:
            case "gated":
                assert self.gate is not None
                size = read * self.gate.r_mag.float().exp() + self.gate.b_mag.float()
                return size.relu_() * (pre > 0)
            case "jumprelu":
                assert self.threshold is not None
                return pre.relu() * (pre > self.threshold.float())
            case "topk":
                best = pre.topk(min(self.k or 1, pre.shape[-1]), dim=-1)
                return torch.zeros_like(pre).scatter_(-1, best.indices, best.values.relu())
            case _:
                return pre.relu_()

    def _read(self, x: Tensor, between: Callable[[], None]) -> Tensor:
        """x W_enc, [row, feature]."""
        between()
        if self.W_enc.dtype == torch.float32:
            return x @ self.W_enc
        step = max(1, AT_ONCE // self.d_in)
        found = x.new_empty(len(x), self.n_features)
        for begin in range(0, self.n_features, step):
            between()
            found[:, begin : begin + step] = x @ self.W_enc[:, begin : begin + step].float()
        return found

    def _parts(self, features: Tensor) -> Iterator[tuple[int, Tensor]]:
        begin = 0
        for part in torch.split(features, max(1, AT_ONCE // self.d_out)):
            yield begin, part
            begin += len(part)

    def _directions(self, features: Tensor) -> Tensor:
        at = features.to(self.W_dec.device)
        rows = self.W_dec[at].float()
        rows = rows if self.factor is None else rows * self.factor[at, None].float()
        return rows if self.rescale is None else rows / self.rescale[at, None]

    def _finite(self, numbers: Tensor, what: str) -> Tensor:
        if bool(numbers.isfinite().all()):
            return numbers
        raise DictionaryError(f"{self.name}: {what} holds numbers that are not finite (NaN or infinite)")


def norms(W_dec: Tensor) -> Tensor:
    """[feature] float32: the length of each direction."""
    step = max(1, AT_ONCE // W_dec.shape[1])
    return torch.cat([part.float().norm(dim=-1) for part in torch.split(W_dec, step)])
