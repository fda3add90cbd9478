"""Random tokens said twice, and what a head's attention on them says of the head.

The definitions are Olsson et al.'s (2022, In-context Learning and Induction Heads). The first position is where heads
rest that have nothing to do, so attention to it is a number of its own and counts for no other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mechtui.engine.model import Tokenizer

# Of the sample that heads are measured on: lengths of the stretch that is said twice, in tokens; texts of each; the
# seed that draws them.
LENGTHS = (32, 64, 96)
COUNT = 6
SEED = 0
# Tokens of the shortest stretch whose repeat says anything.
SHORTEST = 4


def lengths_for(n_ctx: int, lengths: tuple[int, ...] = LENGTHS) -> tuple[int, ...]:
    """Those of the lengths whose repeat the model reads, with a token before it; else the longest there is. Empty
    where even the shortest is too long."""
    longest = (n_ctx - 1) // 2
    if longest < SHORTEST:
        return ()
    return tuple(n for n in lengths if n <= longest) or (longest,)


def ordinary(tokenizer: Tokenizer, n_vocab: int) -> Tensor:
    """Ids of the tokens that stand for text: none of the special ones, none that only fills up the embedding."""
    special = set(tokenizer.all_special_ids)
    known = min(n_vocab, len(tokenizer))
    return torch.tensor([id for id in range(known) if id not in special])


def repeats(ids: Tensor, first: int | None, length: int, count: int = COUNT, seed: int = SEED) -> Tensor:
    """Ids [count, pos]: `first` (BOS; None: nothing), `length` of the given ids drawn at random, the same again."""
    generator = torch.Generator().manual_seed(seed)
    half = ids[torch.randint(len(ids), (count, length), generator=generator)]
    begin = [] if first is None else [torch.full((count, 1), first)]
    return torch.cat([*begin, half, half], 1)


@dataclass(frozen=True)
class Scores:
    """Shares of attention, 0..1, one per head.

    On a stretch of n tokens said twice, over the queries t of its second half: induction is the mean attention to
    t - n + 1 (the token that followed this one), duplicate to t - n (this token, said before), first to position 0.
    previous: to t - 1, over all t >= 2.
    """

    induction: Tensor
    previous: Tensor
    duplicate: Tensor
    first: Tensor


def scores(pattern: Tensor, n: int) -> Scores:
    """pattern [..., query, key] on such texts -> [...] each."""
    size = pattern.shape[-1]
    queries = torch.arange(size - n, size, device=pattern.device)
    again = queries[queries - n >= 1]
    later = torch.arange(2, size, device=pattern.device)
    return Scores(
        induction=pattern[..., queries, queries - n + 1].mean(-1),
        previous=pattern[..., later, later - 1].mean(-1),
        duplicate=pattern[..., again, again - n].mean(-1),
        first=pattern[..., queries, 0].mean(-1),
    )
