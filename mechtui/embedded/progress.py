"""What the training looks at while it runs: a few quick figures of a network."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import cross_entropy

from mechtui.embedded.network import Network
from mechtui.embedded.text import ioi
from mechtui.embedded.text.corpus import end_of_text_id


@dataclass(frozen=True)
class Figures:
    """Losses in nats, scores as FIELD's definitions have them, shares between 0 and 1."""

    first_half: float
    second_half: float
    induction: float
    previous: float
    ioi: float
    ioi_templates: float
    ioi_difference: float
    mover: float
    here: float  # second-half loss of repeats as long as the rows in training

    @property
    def ratio(self) -> float:
        """Loss of the second half of a random repeat over that of the first."""
        return self.second_half / self.first_half

    def __str__(self) -> str:
        return " ".join(f"{name} {value:.3f}" for name, value in asdict(self).items())


@torch.no_grad()
def figures(network: Network, tokenizer: Tokenizer, row_length: int, *, prompts: int = 100) -> Figures:
    """Measure on random repeats (8 of 2 x 48, and some of `row_length`) and on held-out IOI prompts."""
    n = 48
    generator = torch.Generator().manual_seed(1)
    eot = end_of_text_id(tokenizer)

    def repeats(rows: int, n: int) -> tuple[Tensor, Tensor]:
        """Random tokens [row, 1 + 2n] said twice, and the mean loss [2n] at each position."""
        half = torch.randint(1, network.shape.n_vocab, (rows, n), generator=generator)
        tokens = torch.cat([torch.full((rows, 1), eot), half, half], 1)
        return tokens, cross_entropy(network(tokens[:, :-1]).mT, tokens[:, 1:], reduction="none").mean(0)

    tokens, losses = repeats(8, n)
    patterns = network.patterns(tokens).mean(1)  # [layer, head, query, key]
    queries = torch.arange(n + 1, 2 * n + 1)
    induction = patterns[:, :, queries, queries - n + 1].mean(-1)
    later = torch.arange(2, 2 * n + 1)
    previous = patterns[:, :, later, later - 1].mean(-1)
    n_here = (row_length - 1) // 2
    _, here = repeats(16, n_here)
    pairs = _ioi(network, tokenizer, prompts, templates=False)
    templates = _ioi(network, tokenizer, prompts, templates=True)
    return Figures(
        first_half=losses[:n].mean().item(),
        second_half=losses[n + 1 :].mean().item(),
        induction=induction.max().item(),
        previous=previous.max().item(),
        ioi=pairs[0],
        ioi_templates=templates[0],
        ioi_difference=pairs[1],
        mover=pairs[2],
        here=here[n_here + 1 :].mean().item(),
    )


def _ioi(network: Network, tokenizer: Tokenizer, count: int, *, templates: bool) -> tuple[float, float, float]:
    """Share right, mean logit difference, and the best head's mean attention from the end to the IO."""
    rng = random.Random(5)
    eot = end_of_text_id(tokenizer)
    made = [ioi.held_out(rng, templates=templates) for _ in range(count)]
    prompts = [[eot, *tokenizer.encode(text).ids] for text, _, _ in made]
    longest = max(map(len, prompts))
    tokens = torch.tensor([p + [eot] * (longest - len(p)) for p in prompts])
    ends = torch.tensor([len(p) - 1 for p in prompts])
    rows = torch.arange(count)
    at_end = network(tokens)[rows, ends]
    ios = [tokenizer.token_to_id("Ġ" + io) for _, io, _ in made]
    subjects = [tokenizer.token_to_id("Ġ" + subject) for _, _, subject in made]
    differences = at_end[rows, ios] - at_end[rows, subjects]
    starts = [
        next(i for i, token in enumerate(p) if token in {io, tokenizer.token_to_id(made[row][1])})
        for row, (p, io) in enumerate(zip(prompts, ios, strict=True))
    ]
    attention = network.patterns(tokens)[:, rows, :, ends, starts]  # indexed dimensions first: [row, layer, head]
    attention = attention.reshape(count, -1) if attention.shape[0] == count else attention.mT.reshape(count, -1)
    right = (differences > 0).float().mean().item()
    return right, differences.mean().item(), attention.mean(0).max().item()
