"""What the demo can do besides: agreement, capitals, orders, and moods that a vector steers."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mechtui.embedded.text import facts
from mechtui.embedded.text.words import CAPITALS, HAPPY, SAD
from mechtui.selftest.subject import Hook, Subject


def _at_end(subject: Subject, texts: list[str]) -> Tensor:
    """Logits at the last position of each text, [text, vocab]."""
    tokens, ends = subject.batch([subject.ids(text) for text in texts])
    return subject.logits(tokens)[torch.arange(len(texts)), ends]


def agreement(subject: Subject, count: int = 200, seed: int = 0) -> float:
    """Share of sentences whose right verb ("is" or "are") has the higher logit of the two.

    The distractor always has the other number, and training never puts these two nouns into one sentence.
    """
    rng = random.Random(seed)
    made = [facts.agreement(rng, held=True, odd=True) for _ in range(count)]
    logits = _at_end(subject, [text for text, _, _ in made])
    right = sum(
        bool(logits[row, subject.token(f" {good}")] > logits[row, subject.token(f" {bad}")])
        for row, (_, good, bad) in enumerate(made)
    )
    return right / count


def capitals(subject: Subject, seed: int = 0) -> float:
    """Share of countries x held-out phrasings whose likeliest next token is the capital."""
    rng = random.Random(seed)
    made = [facts.held_capital(rng, country) for country in CAPITALS for _ in range(3)]
    return _share_first(subject, made)


def orders(subject: Subject, count: int = 40, seed: int = 0) -> dict[str, float]:
    """Share of stretches (days, months, ...) that go on right, in introductions that training never uses."""
    rng = random.Random(seed)
    return {
        order: _share_first(subject, [facts.held_sequence(rng, order) for _ in range(count)]) for order in facts.ORDERS
    }


def _share_first(subject: Subject, made: list[tuple[str, str]]) -> float:
    best = _at_end(subject, [text for text, _ in made]).argmax(-1)
    return sum(int(best[row]) == subject.token(f" {word}") for row, (_, word) in enumerate(made)) / len(made)


MOOD_PAIRS = (
    ("The film was wonderful", "The film was awful"),
    ("We thought that the trip was great", "We thought that the trip was terrible"),
    ("The food was good", "The food was bad"),
    ("I felt happy", "I felt sad"),
)


@dataclass(frozen=True)
class Steered:
    """Texts written with a steering vector.

    Attributes:
        happy: share of positive words among the positive and negative ones.
        loss: nats per written token of the unsteered model; low is fluent.
        texts: prompt and continuation.
    """

    happy: float
    loss: float
    texts: tuple[str, ...]


def mood_vector(subject: Subject, layer: int) -> Tensor:
    """Mean over `MOOD_PAIRS` of the difference of the texts' means over tokens, before block `layer`, [d_model].

    It is the line `happy-sad = diff L2.pre "..." "..." | ... @all`.
    """
    name = f"blocks.{layer}.hook_resid_pre"

    def mean(text: str) -> Tensor:
        tokens, _ = subject.batch([subject.ids(text)])
        _, kept = subject.run(tokens, [name])
        return kept[name][0].mean(0)

    return torch.stack([mean(a) - mean(b) for a, b in MOOD_PAIRS]).mean(0)


def steer(
    subject: Subject,
    vector: Tensor,
    layer: int,
    coefficient: float,
    *,
    prompts: int = 50,
    length: int = 24,
    temperature: float = 0.8,
    seed: int = 0,
) -> Steered:
    """Write on from neutral prompts with coefficient x vector added at every position before block `layer`."""
    rng = random.Random(seed)
    starts = [subject.ids(facts.neutral(rng)) for _ in range(prompts)]

    def add(activation: Tensor, hook: Any) -> Tensor:
        return activation + coefficient * vector

    hooks: list[Hook] = [(f"blocks.{layer}.hook_resid_pre", add)] if coefficient else []
    written, losses = write(subject, starts, length, hooks=hooks, temperature=temperature, seed=seed)
    good = {subject.token(f" {word}") for word in HAPPY}
    bad = {subject.token(f" {word}") for word in SAD}
    n_good = sum(token in good for text in written for token in text)
    n_bad = sum(token in bad for text in written for token in text)
    texts = tuple(str(subject.tokenizer.decode(start + text)) for start, text in zip(starts, written, strict=True))
    return Steered(n_good / max(1, n_good + n_bad), losses, texts)


def write(
    subject: Subject,
    starts: list[list[int]],
    length: int,
    *,
    hooks: list[Hook],
    temperature: float,
    seed: int,
) -> tuple[list[list[int]], float]:
    """Sample `length` tokens after each start; also the mean loss of what was written, without hooks.

    A text that reaches end-of-text stays there, and what comes after does not count.
    """
    generator = torch.Generator().manual_seed(seed)
    texts = [list(start) for start in starts]
    rows = torch.arange(len(texts))
    ended = [False] * len(texts)
    for _ in range(length):
        tokens, ends = subject.batch(texts)
        logits = subject.logits(tokens, hooks)[rows, ends] / temperature
        chosen = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0].tolist()
        for row, token in enumerate(chosen):
            ended[row] = ended[row] or token == subject.bos
            if not ended[row]:
                texts[row].append(int(token))
    tokens, ends = subject.batch(texts)
    losses = cross_entropy(subject.logits(tokens)[:, :-1].mT, tokens[:, 1:], reduction="none")
    total, count = 0.0, 0
    for row, (text, start) in enumerate(zip(texts, starts, strict=True)):
        total += float(losses[row, len(start) : len(text)].sum())
        count += len(text) - len(start)
    return [t[len(s) :] for t, s in zip(texts, starts, strict=True)], total / max(1, count)
