"""Scores of all heads, and what the heads do together, on random tokens said twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mechtui.engine import repeats as sample
from mechtui.selftest.subject import CannotMeasure, Hook, Subject

Head = tuple[int, int]


@dataclass(frozen=True)
class RepeatScores:
    """Of random tokens said twice; scores are [layer, head], losses in nats per token.

    What they are stands in `mechtui.engine.repeats`; here the bridge itself runs, with its own hooks. lengths: of the
    stretches that were repeated, in tokens.
    """

    induction: Tensor
    previous: Tensor
    duplicate: Tensor
    first_half: float
    second_half: float
    lengths: tuple[int, ...]

    def best(self, scores: Tensor) -> tuple[Head, float]:
        """The head with the highest score, and the score."""
        layer, head = divmod(int(scores.argmax()), scores.shape[1])
        return (layer, head), float(scores[layer, head])


def repeats(subject: Subject, length: int, count: int, seed: int) -> Tensor:
    """Ids [count, 1 + 2 * length]: bos, random tokens, the same again."""
    return sample.repeats(sample.ordinary(subject.tokenizer, subject.n_vocab), subject.bos, length, count, seed)


def repeat_losses(subject: Subject, tokens: Tensor, hooks: list[Hook] | None = None) -> tuple[float, float]:
    """Mean loss of the first half and of the second, whose first token nothing announces and is left out."""
    n = (tokens.shape[1] - 1) // 2
    logits = subject.logits(tokens, hooks)[:, :-1]
    losses = cross_entropy(logits.mT, tokens[:, 1:], reduction="none").mean(0)
    return float(losses[:n].mean()), float(losses[n + 1 :].mean())


def repeat_scores(
    subject: Subject, lengths: tuple[int, ...] = sample.LENGTHS, count: int = sample.COUNT, seed: int = sample.SEED
) -> RepeatScores:
    """Scores and losses, the mean over several lengths of the repeated stretch; of those that do not fit the model's
    context, the longest that does stands in. Raises CannotMeasure."""
    lengths = sample.lengths_for(subject.n_ctx, lengths)
    if not lengths:
        shortest = 2 * sample.SHORTEST + 1
        raise CannotMeasure(f"it reads {subject.n_ctx} tokens, and the shortest repeat takes {shortest}")
    scores: list[sample.Scores] = []
    first, second = [], []
    for n in lengths:
        tokens = repeats(subject, n, count, seed)
        scores.append(sample.scores(subject.patterns(tokens).mean(1), n))  # of [layer, head, query, key]
        a, b = repeat_losses(subject, tokens)
        first.append(a)
        second.append(b)
    return RepeatScores(
        induction=torch.stack([each.induction for each in scores]).mean(0),
        previous=torch.stack([each.previous for each in scores]).mean(0),
        duplicate=torch.stack([each.duplicate for each in scores]).mean(0),
        first_half=sum(first) / len(first),
        second_half=sum(second) / len(second),
        lengths=lengths,
    )


def zero_heads(heads: list[Head]) -> list[Hook]:
    """Hooks that set the result of these heads to zero, before W_O."""
    by_layer: dict[int, list[int]] = {}
    for layer, head in heads:
        by_layer.setdefault(layer, []).append(head)

    def zeroing(which: list[int]) -> Callable[..., Tensor]:
        def zero(z: Tensor, hook: Any) -> Tensor:
            z = z.clone()
            z[:, :, which] = 0
            return z

        return zero

    return [(f"blocks.{layer}.attn.hook_z", zeroing(which)) for layer, which in by_layer.items()]


def loss_without(subject: Subject, heads: list[Head], length: int = 64, seed: int = 0) -> tuple[float, float]:
    """Second-half loss as it is, and with these heads zeroed."""
    tokens = repeats(subject, min(length, (subject.n_ctx - 1) // 2), 6, seed)
    return repeat_losses(subject, tokens)[1], repeat_losses(subject, tokens, zero_heads(heads))[1]


@torch.no_grad()
def k_composition(subject: Subject) -> Tensor:
    """K-composition of every pair of heads, [layer, head, later layer, later head]; NaN unless later.

    Frobenius norm of W_QK W_OV^T over the product of their norms (Elhage et al. 2021), with the gain of the
    LayerNorm that each matrix reads through. What random matrices of that shape give is the same for all pairs and
    is left in, since pairs are compared with pairs only.
    """
    bridge = subject.bridge
    layers, heads = subject.n_layers, subject.n_heads
    gains = [_gain(bridge.blocks[layer].ln1) for layer in range(layers)]
    scores = torch.full((layers, heads, layers, heads), torch.nan)
    qk = [(gains[layer] * bridge.W_Q[layer].mT).mT @ (gains[layer] * bridge.W_K[layer].mT) for layer in range(layers)]
    ov = [(gains[layer] * bridge.W_V[layer].mT).mT @ bridge.W_O[layer] for layer in range(layers)]
    for early in range(layers):
        for late in range(early + 1, layers):
            product = torch.einsum("hqk,gvk->ghqv", qk[late], ov[early]).norm(dim=(-2, -1))
            norms = ov[early].norm(dim=(-2, -1))[:, None] * qk[late].norm(dim=(-2, -1))
            scores[early, :, late, :] = product / norms
    return scores


def _gain(norm: Any) -> Tensor:
    """The gain of a bridge's LayerNorm, [d_model]."""
    weight: Tensor = norm.weight
    return weight.detach()
