"""Direct logit attribution (Elhage et al. 2021): what each write to the residual stream at one position says about a
logit, or a difference of two, read through the final norm with its scale held at its value.

Read so, the stream is a sum: every write's reading is one signed number, in logits, and all of them and what is fixed
add up to what the model says.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mechtui.engine.api import Need, OpenSession, Run, SessionError, together
from mechtui.engine.readout import Norm
from mechtui.engine.weights import W_O, W_U, W_out, b_O, b_out, b_V, unembedding_bias
from mechtui.session.document import Point


@dataclass(frozen=True, eq=False)
class Direction:
    """logit(answer) - logit(foil), or logit(answer) without a foil, of the normed residual: normed @ column + constant.

    A logit alone is the model's own, not centred over the vocabulary: what raises all tokens alike raises it, too.
    column [d_model], float32.
    """

    answer: int
    foil: int | None
    column: Tensor
    constant: float

    def of(self, logits: Tensor) -> float:
        """What logits [d_vocab] say of it."""
        return float(logits[self.answer]) - (0.0 if self.foil is None else float(logits[self.foil]))


def direction(opened: OpenSession, position: int, alone: bool = False) -> Direction:
    """What is attributed at a position: the session's answer minus its foil, the clean run's two best tokens where none
    is named; alone: the answer only. Raises SessionError."""
    answer, foil = opened.targets_at(position)
    if answer is None:
        lacks = "an answer and a foil"
        raise SessionError(f"attribution explains a logit difference: give the session {lacks}", lacks)
    if foil is None and not alone:
        raise SessionError(
            "attribution explains a logit difference: give the session a foil, or ask: attribution answer", "a foil"
        )
    readout = opened.readout
    if readout.caps:
        name = opened.ready.name
        raise SessionError(f"{name} caps its logits, which is no sum: attribution cannot split them")
    bridge = opened.model.bridge
    column = readout.column(answer)
    constant = unembedding_bias(bridge, answer)
    if foil is not None and not alone:
        column = column - readout.column(foil)
        constant -= unembedding_bias(bridge, foil)
    return Direction(answer, None if alone else foil, column, constant * readout.times)


class Writes:
    """How one part of a block writes to the stream: through a norm behind it, times a factor. Raises SessionError."""

    def __init__(self, opened: OpenSession, layer: int, part: Literal["attn", "mlp"]) -> None:
        block = opened.model.bridge.blocks[layer]
        self.times = float(getattr(block, "residual_contribution_scale", None) or 1.0)
        behind = getattr(block, "ln1_post" if part == "attn" else "ln2_post", None)
        self.norm = None if behind is None else _norm(opened, behind)

    def through(self, reads: Tensor, gives: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        """reads [d_model] of the stream -> what reads the same of that which the part gives, before norm and factor,
        and what is read whatever it gives. gives: all that the part gives [d_model], whose norm's scale is held."""
        if self.norm is None:
            return reads * self.times, reads.new_zeros(())
        return self.norm.transposed(reads) / self.norm.scale(gives()), self.norm.bias.to(reads) @ reads


class Ledger:
    """Readings of one run's writes to the stream at one position. All tensors are float32, in logits."""

    def __init__(
        self, run: Run, opened: OpenSession, position: int, direction: Direction, held: Ledger | None = None
    ) -> None:
        """held: another run's, whose final norm's scale holds here, too: then `total` is not what the run's own logits
        say."""
        self.run, self.opened, self.position, self.direction = run, opened, position, direction
        self._bridge = opened.model.bridge
        self.reads: Tensor
        self.fixed: float
        if held is not None:
            self.final = run.resid_at(opened.shape.n_layers, position).float()
            self.reads, self.fixed = held.reads, held.fixed
            return
        norm = _norm(opened, self._bridge.ln_final)
        with torch.inference_mode():
            self.final = run.resid_at(opened.shape.n_layers, position).float()
            column = direction.column.to(self.final.device)
            scaled = run.scales.resid_at(opened.shape.n_layers, position).float()
            self.reads = norm.transposed(column) / norm.scale(scaled)
            self.fixed = float(norm.bias @ column) + direction.constant

    def read(self, write: Tensor) -> Tensor:
        """[..., d_model] -> [...]"""
        reading: Tensor = write.float().to(self.reads.device) @ self.reads
        return reading

    @cached_property
    def shown(self) -> float:
        """What the run's logits say."""
        return self.direction.of(self.run.logits([self.position])[0])

    @cached_property
    def total(self) -> float:
        """What the stream as it ends says, and what is fixed."""
        return float(self.read(self.final)) + self.fixed

    @cached_property
    def rounding(self) -> float:
        """What sums may miss: in half precision every addition to the stream is rounded, and so are both logits; in
        float32 a part that is missing is a mistake."""
        summands = float((self.final * self.reads).abs().sum())
        logits = self.run.logits([self.position])[0]
        last = sum(abs(float(logits[id])) for id in (self.direction.answer, self.direction.foil) if id is not None)
        rounded = summands * math.sqrt(2 * self.opened.shape.n_layers + 3) + last
        return max(1e-3, float(torch.finfo(self.opened.dtype).eps) * rounded)

    def check(self, gap: float, what: str) -> None:
        """Raises SessionError where parts miss their whole by more than rounding."""
        gap = abs(gap)
        if not gap <= self.rounding:
            raise SessionError(
                f"the parts of {what} miss the whole by {gap:.2g} in {self.opened.ready.name}, so they are not "
                "shown: its blocks write to the residual stream in a way that attribution does not know"
            )

    # The writes

    @torch.inference_mode()
    def heads(self, layer: int) -> tuple[Tensor, Tensor]:
        """[head], and what attention writes whatever its heads say [1]."""
        z = self.run.take(z_need(layer, self.position))
        through, fixed = self.head_reads(layer)
        return (z.float() * through.to(z.device)).sum(-1), fixed[None]

    @torch.inference_mode()
    def mlp(self, layer: int) -> Tensor:
        return self.read(self.run.take(mlp_need(layer, self.position)))

    @torch.inference_mode()
    def sources(self, layer: int, head: int) -> tuple[Tensor, Tensor, float, float]:
        """Of one head's write: what it owes to each source token [pos], attention times the value without its bias; the
        attention [pos]; what it owes to the values' bias, which it adds whatever it attends to; and to edits of z."""
        z = self.run.take(z_need(layer, self.position))
        through = self.head_reads(layer)[0][head].to(z.device)
        pattern = self.run.take(pattern_need(layer, self.position))[head].float()
        shape = self.opened.shape
        group = head * shape.n_kv_heads // shape.n_heads
        values = self.run.take(value_need(layer, group)).float()
        constant = b_V(self._bridge, layer, group, values[0])
        by_token = pattern * ((values - constant) @ through)
        bias = float(pattern.sum() * (constant @ through))
        return by_token, pattern, bias, float(z[head].float() @ through) - float(by_token.sum()) - bias

    @torch.inference_mode()
    def neurons(self, layer: int) -> tuple[Tensor, Tensor, float, float]:
        """Of one MLP's write: each neuron's part [d_mlp], its activation [d_mlp], the bias's part, and that of edits of
        what the MLP gives."""
        active = self.run.take(neuron_need(layer, self.position)).float()
        reads, constant = self.neuron_reads(layer)
        by_neuron = active * reads.to(active.device)
        return by_neuron, active, constant, float(self.mlp(layer)) - float(by_neuron.sum()) - constant

    def neuron_reads(self, layer: int) -> tuple[Tensor, float]:
        """What reads of each neuron's activation [d_mlp], and what the MLP's bias adds whatever they are."""
        weight = W_out(self._bridge, layer)
        bias = b_out(self._bridge, layer, self.reads).to(self.reads)

        def gives() -> Tensor:
            held = self.run.scales.take(neuron_need(layer, self.position))
            return (held.to(weight.dtype) @ weight).float().to(self.reads.device) + bias

        through, fixed = Writes(self.opened, layer, "mlp").through(self.reads, gives)
        return weight.float() @ through.to(weight.device), float(bias @ through + fixed)

    @torch.inference_mode()
    def reads_at(self, point: Point) -> Tensor | None:
        """[width]: what reads of what passes a point; None of what the MLP reads, which is written by nobody."""
        match point.part:
            case "in":
                return None
            case "z":
                return self.head_reads(point.layer)[0].flatten()
            case "act":
                return self.neuron_reads(point.layer)[0]
            case _:
                return self.reads

    def head_reads(self, layer: int) -> tuple[Tensor, Tensor]:
        """What reads of each head's z [head, d_head], and what is read whatever they say."""
        weight = W_O(self._bridge, layer)
        bias = b_O(self._bridge, layer, self.reads)

        def gives() -> Tensor:
            z = self.run.scales.take(z_need(layer, self.position))
            written: Tensor = torch.einsum("hd,hdm->m", z.to(weight), weight).float().to(self.reads.device)
            return written + bias

        through, fixed = Writes(self.opened, layer, "attn").through(self.reads, gives)
        by_head = weight.float() @ through.to(weight.device)
        return by_head, bias @ through + fixed


@torch.inference_mode()
def in_stream(opened: OpenSession, point: Point, directions: Tensor) -> Tensor | None:
    """Directions [row, width] at a point as they are written to the stream [row, d_model], but for the scale of a norm
    behind the block's part; None of what the MLP reads."""
    bridge, layer = opened.model.bridge, point.layer
    match point.part:
        case "in":
            return None
        case "z":
            weight = W_O(bridge, layer)
            written, part = directions @ weight.float().flatten(0, 1).to(directions.device), "attn"
        case "act":
            written, part = directions @ W_out(bridge, layer).float().to(directions.device), "mlp"
        case _:
            return directions
    writes = Writes(opened, layer, "attn" if part == "attn" else "mlp")
    return (written if writes.norm is None else writes.norm.linear(written)) * writes.times


def per_head(run: Run, opened: OpenSession, position: int, direction: Direction) -> np.ndarray:
    """[layer, head]: what each head writes at the position to the direction's logits. Raises SessionError."""
    ledger = Ledger(run, opened, position, direction)
    return together([ledger.heads(layer)[0] for layer in range(opened.shape.n_layers)]).numpy()


def z_need(layer: int, position: int) -> Need:
    return Need(f"blocks.{layer}.attn.hook_z", "at", position)


def mlp_need(layer: int, position: int) -> Need:
    return Need(f"blocks.{layer}.hook_mlp_out", "at", position)


def neuron_need(layer: int, position: int) -> Need:
    return Need(f"blocks.{layer}.mlp.hook_post", "at", position)


def pattern_need(layer: int, position: int) -> Need:
    return Need(f"blocks.{layer}.attn.hook_pattern", "at", position)


def value_need(layer: int, group: int) -> Need:
    return Need(f"blocks.{layer}.attn.hook_v", "head", group)


def _norm(opened: OpenSession, module: Any) -> Norm:
    try:
        return Norm(module, W_U(opened.model.bridge)[:, 0])
    except ValueError as error:
        name = opened.ready.name
        raise SessionError(f"a norm of {name} is of a kind that attribution does not know") from error
