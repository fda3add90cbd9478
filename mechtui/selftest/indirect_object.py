"""Indirect object identification (Wang et al. 2022): accuracy, logit difference, and who moves the name."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mechtui.embedded.text import ioi
from mechtui.selftest.subject import CannotMeasure, Subject

# Of so many made prompts in turn at least one must do, or the tokenizer knows too few names.
MOST_TRIES = 200
MakePrompt = Callable[[random.Random], tuple[str, str, str]]


@dataclass(frozen=True)
class Prompts:
    """Prompts that end before the indirect object.

    Attributes:
        tokens: ids [prompt, pos], bos first.
        ends: the last position of each, [prompt].
        io, subject: ids of the two names with a leading space, [prompt].
        io_at: the position of the indirect object, [prompt].
    """

    tokens: Tensor
    ends: Tensor
    io: Tensor
    subject: Tensor
    io_at: Tensor


def prompts(subject: Subject, make: MakePrompt, count: int, seed: int) -> Prompts:
    """`count` prompts whose names are one token each for this tokenizer. Raises CannotMeasure."""
    rng = random.Random(seed)
    kept: list[list[int]] = []
    ios, subjects, places = [], [], []
    tries = 0
    while len(kept) < count:
        if tries == MOST_TRIES:
            raise CannotMeasure("its tokenizer has no names of one token that fit these prompts")
        tries += 1
        text, io, other = make(rng)
        pair = subject.token(f" {io}"), subject.token(f" {other}")
        ids = subject.ids(text)
        forms = {pair[0], subject.token(io)}
        where = [i for i, token in enumerate(ids) if token in forms]
        if None in pair or not where:
            continue
        if len(ids) + 1 > subject.n_ctx:
            raise CannotMeasure(f"it reads {subject.n_ctx} tokens, and such a prompt has {len(ids) + 1}")
        tries = 0
        kept.append(ids)
        ios.append(pair[0])
        subjects.append(pair[1])
        places.append(where[0] + 1)  # bos comes first
    tokens, ends = subject.batch(kept)
    return Prompts(tokens, ends, torch.tensor(ios), torch.tensor(subjects), torch.tensor(places))


def held_pairs(rng: random.Random) -> tuple[str, str, str]:
    """Frames of the training, a pair of names that training never shows together."""
    return ioi.held_out(rng, templates=False)


def held_templates(rng: random.Random) -> tuple[str, str, str]:
    """Frames, remarks and a pair of names that training never shows."""
    return ioi.held_out(rng, templates=True)


@dataclass(frozen=True)
class Result:
    """Share of prompts whose indirect object has the higher logit of the two names; mean logit difference."""

    accuracy: float
    difference: float


def accuracy(subject: Subject, given: Prompts) -> Result:
    """Compare the two names at the last position."""
    rows = torch.arange(len(given.ends))
    logits = subject.logits(given.tokens)[rows, given.ends]
    difference = logits[rows, given.io] - logits[rows, given.subject]
    return Result(float((difference > 0).float().mean()), float(difference.mean()))


@dataclass(frozen=True)
class Movers:
    """Means over prompts.

    Attributes:
        attention: from the last position to the indirect object, [layer, head].
        contribution: of every component to the logit difference, by name ("L2H3", "L2.mlp", "embed", ...).
        total: sum of all contributions, which is the logit difference.
    """

    attention: Tensor
    contribution: dict[str, float]
    total: float

    def rank(self, name: str) -> int:
        """Place of a component by its contribution, 1 the largest."""
        return 1 + sum(value > self.contribution[name] for value in self.contribution.values())


@torch.no_grad()
def movers(subject: Subject, given: Prompts) -> Movers:
    """Attention to the name, and direct attribution through the final LayerNorm's scale."""
    layers, bridge = subject.n_layers, subject.bridge
    z_names = [f"blocks.{layer}.attn.hook_z" for layer in range(layers)]
    pattern_names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(layers)]
    mlp_names = [] if subject.attn_only else [f"blocks.{layer}.hook_mlp_out" for layer in range(layers)]
    last = f"blocks.{layers - 1}.hook_resid_post"
    names = [*z_names, *pattern_names, *mlp_names, "hook_embed", "hook_pos_embed", last]
    _, kept = subject.run(given.tokens, names)
    rows = torch.arange(len(given.ends))

    final = kept[last][rows, given.ends]
    norm = bridge.ln_final
    scale = (final.var(-1, unbiased=False) + bridge.cfg.eps).sqrt()
    unembed = (bridge.W_U[:, given.io] - bridge.W_U[:, given.subject]).T  # [prompt, d_model]
    direction = unembed * norm.weight
    # Centring is linear: take the mean out of the direction instead of out of every component.
    direction = (direction - direction.mean(-1, keepdim=True)) / scale[:, None]

    contribution: dict[str, float] = {}

    def put(name: str, written: Tensor) -> None:
        contribution[name] = float((written * direction).sum(-1).mean())

    attention = torch.zeros(layers, subject.n_heads)
    put("embed", kept["hook_embed"][rows, given.ends])
    # Every prompt has the same positions, so an embedding may be kept once for all of them.
    positions = kept["hook_pos_embed"].expand(len(rows), -1, -1)
    put("pos", positions[rows, given.ends])
    for layer in range(layers):
        z = kept[z_names[layer]][rows, given.ends]  # [prompt, head, d_head]
        written = torch.einsum("phe,hed->phd", z, bridge.W_O[layer])
        for head in range(subject.n_heads):
            put(f"L{layer}H{head}", written[:, head])
        put(f"L{layer}.b_O", bridge.b_O[layer].expand_as(final))
        if mlp_names:
            put(f"L{layer}.mlp", kept[mlp_names[layer]][rows, given.ends])
        attention[layer] = kept[pattern_names[layer]][rows, :, given.ends, given.io_at].mean(0)
    contribution["ln_final.b"] = float((unembed * norm.bias).sum(-1).mean())
    return Movers(attention, contribution, sum(contribution.values()))
