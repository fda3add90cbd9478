"""Heads as circuits of the weights, and how the heads of later layers read what those of earlier ones write.

A head is two bilinear maps of the residual stream (Elhage et al. 2021): W_QK = W_Q W_K^T says what attends to what,
W_OV = W_V W_O what is then written. The matrices here are those of TransformerLens's processed weights: with what the
norm before them does to every stream alike (its weight, its centring), and what a norm behind attention does. Norms'
scales, biases and rotary positions are no part of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from mechtui.engine import weights
from mechtui.engine.errors import Cancelled, SessionError
from mechtui.engine.readout import Norm, Readout

Kind = Literal["Q", "K", "V"]
# Numbers of two tables that are multiplied at once: 32 MB each.
AT_ONCE = 8_000_000
# Rows of the embedding that are normed at once.
TOKENS_AT_ONCE = 8192
# Pairs of random matrices that say what composition is without any: with 24 of each kind there are 576.
RANDOM, SEED = 24, 0


@dataclass(frozen=True, eq=False)
class Matrices:
    """One layer's, float32. Q, K, V [head, d_model, d_head]; O [head, d_head, d_model]."""

    Q: Tensor
    K: Tensor
    V: Tensor
    O: Tensor


def norm_of(block: Any, name: str, like: Tensor) -> Norm | None:
    """The block's norm of this name, where it has one. Raises ValueError for one of an unknown kind."""
    module = getattr(block, name, None)
    return None if module is None else Norm(module, like.to(next(block.parameters()).device))


def _read(bridge: Any, layer: int, name: str) -> tuple[list[Tensor], Norm | None, Norm | None]:
    """A layer's W_Q, W_K and W_V, [head, d_model, d_head] each, and the norms before and behind its attention. name:
    the model's. Raises SessionError where the bridge does not have its weights so, or a norm is of an unknown kind."""
    found = [weights.reading(bridge, layer, each) for each in ("W_Q", "W_K", "W_V")]
    whole = [each.float() for each in found if each is not None]
    if len(whole) < len(found):
        raise SessionError(f"{name} does not keep W_Q, W_K and W_V head by head, so its circuits cannot be read")
    block, like = bridge.blocks[layer], weights.W_U(bridge)[:, 0]
    try:
        return whole, norm_of(block, "ln1", like), norm_of(block, "ln1_post", like)
    except ValueError as error:
        raise _unknown_norm(name) from error


def _unknown_norm(name: str) -> SessionError:
    return SessionError(f"a norm of {name} is of a kind that its circuits cannot be read through")


@torch.inference_mode()
def matrices(bridge: Any, layer: int, name: str) -> Matrices:
    """A layer's. name: the model's. Raises SessionError."""
    whole, before, behind = _read(bridge, layer, name)
    Q, K, V = whole if before is None else [before.transposed(each.mT).mT for each in whole]
    written = weights.W_O(bridge, layer).float()
    return Matrices(Q, K, V, written if behind is None else behind.linear(written))


def check_plain_scores(bridge: Any, layer: int, name: str) -> None:
    """Raises SessionError where queries and keys are normed before they meet: W_QK then says not what attends to
    what."""
    if any(getattr(bridge.blocks[layer].attn, each, None) is not None for each in ("q_norm", "k_norm")):
        raise SessionError(f"{name} norms its queries and keys, so W_Q and W_K alone do not say what attends to what")


def scale_of(scores: Tensor, queries: Tensor, keys: Tensor, name: str) -> float:
    """What a head's scores [query, key] are of its queries and keys [pos, d_head]: seen where positions attend to
    themselves, whose rotation and bias by distance are none. Raises SessionError where it is no one number."""
    products = (queries.float() * keys.float()).sum(-1)
    ratios = scores.float().diagonal().to(products) / products
    strong = products.abs() >= 0.1 * products.abs().max()
    scale = float(ratios[products.abs().argmax()])
    if not scale > 0 or float((ratios[strong] - scale).abs().max()) > 0.02 * scale:
        raise SessionError(f"{name} does more to its attention scores than scale them, so its words cannot be compared")
    return scale


@torch.inference_mode()
def composition(
    bridge: Any, kind: Kind, name: str, cancelled: Callable[[], bool], progress: Callable[[float], None]
) -> Tensor:
    """[later head, earlier head], heads counted through the layers: the Frobenius norm of the product of what the
    earlier head writes (W_OV) with what the later one reads it by (Q: W_QK, K: W_QK^T, V: W_OV), over the product of
    their norms, 0..1. NaN where the earlier head does not stand in an earlier layer. Raises SessionError, Cancelled.

    ||W_OV M||_F^2 is the inner product of W_OV^T W_OV and M M^T, so that of each head one d_model x d_model table is
    made, in stripes, and never the product of a pair.
    """
    n_layers = int(bridge.cfg.n_layers)
    wrote: list[Tensor] = []
    reads: list[Tensor] = []
    layer_of: list[int] = []
    for layer in range(n_layers):
        if cancelled():
            raise Cancelled
        if kind != "V":
            check_plain_scores(bridge, layer, name)
        each = matrices(bridge, layer, name)
        wrote.append(_factor(each.V, each.O.mT))
        reads.append(_reader(each, kind))
        layer_of += [layer] * len(each.Q)
    first = wrote[0].device
    writers, readers = (torch.cat([each.to(first) for each in layers]) for layers in (wrote, reads))
    wrote.clear()
    reads.clear()
    table = _composed(writers, readers, cancelled, progress)
    where = torch.tensor(layer_of)
    return torch.where(where[None, :] < where[:, None], table.cpu(), torch.nan)


def _reader(each: Matrices, kind: Kind) -> Tensor:
    """[head, d_head, d_model]: what the later head reads a write by, as far as norms of products go."""
    match kind:
        case "Q":
            return _factor(each.K, each.Q)
        case "K":
            return _factor(each.Q, each.K)
        case "V":
            return _factor(each.O.mT, each.V)


def _factor(inner: Tensor, outer: Tensor) -> Tensor:
    """inner, outer [head, d_model, d_head] -> F [head, d_head, d_model] with ||X F^T|| = ||X outer inner^T|| for every
    X: as long as the whole product, and d_model / d_head times as small."""
    triangle: Tensor = torch.linalg.qr(inner, mode="r").R
    return triangle @ outer.mT


def _composed(wrote: Tensor, reads: Tensor, cancelled: Callable[[], bool], progress: Callable[[float], None]) -> Tensor:
    """[reader, writer]: ||W_OV M||_F over the product of the norms, from both factors [head, d_head, d_model], which
    are made as long as 1: so that what rounds does not depend on the model's scale."""
    for each in (wrote, reads):
        each.div_(each.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-30))
    count, _, width = wrote.shape
    stripe = max(AT_ONCE // (count * width), 1)
    total = torch.zeros(len(reads), count, device=wrote.device)
    for begin in range(0, width, stripe):
        if cancelled():
            raise Cancelled
        left, right = ((each[:, :, begin : begin + stripe].mT @ each).reshape(len(each), -1) for each in (reads, wrote))
        total += left @ right.T
        del left, right  # before the next two are made
        progress(min(begin + stripe, width) / width)
    return total.clamp_min(0).sqrt()


def random_composition(width: int, head: int) -> tuple[float, float]:
    """Mean and standard deviation of the composition of random heads of this shape: matrices of independent normal
    numbers, d_model x d_head each."""
    generator = torch.Generator().manual_seed(SEED)

    def some() -> Tensor:
        return torch.randn(RANDOM, width, head, generator=generator)

    values = _composed(_factor(some(), some()), _factor(some(), some()), lambda: False, lambda share: None)
    return float(values.mean()), float(values.std())


@dataclass(frozen=True)
class Trigram:
    """[source … destination -> out]: the source's id, the destinations that attend to it most and the tokens that it
    raises most, the strongest first. value: attention preference of the first times logit of the first."""

    source: int
    destinations: tuple[int, ...]
    outs: tuple[int, ...]
    value: float


@dataclass(frozen=True, eq=False)
class Direction:
    """One singular direction of a head's matrix. size: its singular value; share: of the sum of all squares. reads,
    writes [d_vocab]: what it says of every token on either side, as if it alone were the matrix: their product is the
    score of the pair, or the logit."""

    size: float
    share: float
    reads: Tensor
    writes: Tensor


class Circuit:
    """One head over the whole vocabulary, as if the stream were a token's embedding alone.

    queries, keys, values [d_vocab, d_head]: what the head makes of each embedding, normed as the layer's norm does;
    keys less their mean, values without biases. out [d_head, d_vocab]: logits per unit of value, through the final
    norm's centring and weight without its scale, less their mean over the vocabulary. Nothing of d_vocab x d_vocab is
    held. Rotary positions are left out: both tokens stand as if at one place.
    """

    @torch.inference_mode()
    def __init__(self, bridge: Any, readout: Readout, layer: int, head: int, name: str, scale: float) -> None:
        """name: the model's. scale: what its scores are multiplied by. Raises SessionError where its weights cannot be
        read so."""
        self.layer, self.head = layer, head
        check_plain_scores(bridge, layer, name)
        whole, before, behind = _read(bridge, layer, name)
        W_Q, W_K, W_V = (each[head] for each in whole)
        embedding = weights.W_E(bridge)
        try:
            final = readout.norm()
        except ValueError as error:
            raise _unknown_norm(name) from error
        parts: list[list[Tensor]] = [[], [], []]
        for begin in range(0, len(embedding), TOKENS_AT_ONCE):
            rows = embedding[begin : begin + TOKENS_AT_ONCE].float().to(W_Q.device)
            normed = rows if before is None else before.linear(rows) / before.scale(rows)
            shifted = normed if before is None else normed + before.bias
            for part, made in zip(parts, (shifted @ W_Q, shifted @ W_K, normed @ W_V), strict=True):
                part.append(made)
        self.queries, keys, self.values = (torch.cat(part) for part in parts)
        bias = weights.reading_bias(bridge, layer, "b_Q")
        self.queries = self.queries + (bias[head] if isinstance(bias, Tensor) else bias)
        self.keys = keys - keys.mean(0)
        self.scale = scale
        written = weights.W_O(bridge, layer)[head].float()
        written = final.linear(written if behind is None else behind.linear(written))
        self.out = readout.reads(written)
        self.out -= self.out.mean(1, keepdim=True)

    @torch.inference_mode()
    def attends(self, token: int) -> Tensor:
        """[d_vocab]: by how much more than to the mean token a query of this token wants to attend to each: the
        attention scores less their mean, in nats."""
        return (self.keys @ self.queries[token]) * self.scale

    @torch.inference_mode()
    def attended(self, token: int) -> Tensor:
        """[d_vocab]: the same from each query to this token."""
        return (self.queries @ self.keys[token]) * self.scale

    @torch.inference_mode()
    def raises(self, token: int) -> Tensor:
        """[d_vocab]: what attending to this token alone does to every logit, before the final norm's scale."""
        return self.values[token] @ self.out

    @torch.inference_mode()
    def raised_by(self, token: int) -> Tensor:
        """[d_vocab]: what attending to each token does to this one's logit."""
        return self.values @ self.out[:, token]

    @torch.inference_mode()
    def trigrams(
        self, most: int, each: int, cancelled: Callable[[], bool], progress: Callable[[float], None]
    ) -> list[Trigram]:
        """The strongest, one of each source, with `each` destinations and outs; all sources are looked at. None of a
        source that nothing attends to more than to the mean token, or that raises nothing. Raises Cancelled."""
        count = len(self.keys)
        rows = max(AT_ONCE // count, 1)
        found: list[Tensor] = []
        for begin in range(0, count, rows):
            if cancelled():
                raise Cancelled
            wanted = (self.keys[begin : begin + rows] @ self.queries.T).amax(1) * self.scale
            found.append(wanted.clamp_min(0) * (self.values[begin : begin + rows] @ self.out).amax(1).clamp_min(0))
            progress(min(begin + rows, count) / count)
        best = torch.cat(found).topk(min(most, count))
        return [
            Trigram(
                source,
                tuple(self.attended(source).topk(min(each, count)).indices.tolist()),
                tuple(self.raises(source).topk(min(each, count)).indices.tolist()),
                value,
            )
            for value, source in zip(best.values.tolist(), best.indices.tolist(), strict=True)
            if value > 0
        ]

    @torch.inference_mode()
    def directions(self, kind: Literal["OV", "QK"], most: int) -> list[Direction]:
        """The largest singular directions of the head's full matrix over the vocabulary, embeddings normed: of OV from
        the token read to the logits, of QK from the query's token to the key's. Each points where its `reads` reach
        furthest."""
        left, right = (self.values, self.out.T) if kind == "OV" else (self.queries * self.scale, self.keys)
        (first, one), (second, two) = torch.linalg.qr(left), torch.linalg.qr(right)
        u, sizes, v = torch.linalg.svd(one @ two.T)
        reads, writes = first @ u, second @ v.mT
        whole = float(sizes.square().sum()) or 1.0
        found = []
        for at in range(min(most, len(sizes))):
            read, write, size = reads[:, at], writes[:, at], float(sizes[at])
            if float(read[read.abs().argmax()]) < 0:
                read, write = -read, -write
            # Each side with half of the size, so that their product is what the direction does.
            found.append(Direction(size, size**2 / whole, read * size**0.5, write * size**0.5))
        return found
