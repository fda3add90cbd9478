"""The mixture: how much of which text, and rows of tokens to train on."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from mechtui.embedded.text import facts, ioi, stories
from mechtui.embedded.text.document import Document

MAKERS: dict[str, Callable[[random.Random], Document]] = {
    "ioi": ioi.training,
    "story": stories.story,
    "comes back": stories.comes_back,
    "agreement": lambda rng: facts.training(rng, "agreement"),
    "capital": lambda rng: facts.training(rng, "capital"),
    "review": lambda rng: facts.training(rng, "review"),
    "sequence": lambda rng: facts.training(rng, "sequence"),
}

# Shares of the documents (not of the tokens) outside the random repeats.
TEXT_MIX: dict[str, float] = {
    "ioi": 0.42,
    "story": 0.08,
    "comes back": 0.07,
    "agreement": 0.12,
    "capital": 0.13,
    "review": 0.10,
    "sequence": 0.08,
}

END_OF_TEXT = "<|endoftext|>"


def end_of_text_id(tokenizer: Tokenizer) -> int:
    """The id of the token that stands between texts."""
    id = tokenizer.token_to_id(END_OF_TEXT)
    assert id is not None, "every tokenizer of ours has it"
    return id


def documents(rng: random.Random, mix: Mapping[str, float] = TEXT_MIX) -> Iterator[Document]:
    """Documents without end; the same `rng` state gives the same ones."""
    kinds = tuple(mix)
    weights = tuple(mix.values())
    while True:
        for kind in rng.choices(kinds, weights, k=64):
            yield MAKERS[kind](rng)


@dataclass(frozen=True)
class Placed:
    """A document as it stands in a row: `tokens` from position `at` on, end-of-text last unless the row cuts it off.

    weights: of the loss of predicting each of them.
    """

    row: int
    at: int
    document: Document
    tokens: NDArray[np.int64]
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class Rows:
    """Training rows.

    Attributes:
        tokens: ids, int64, [row, position]; every row begins with end-of-text.
        weights: weight of the loss of predicting tokens[:, 1:], float32, [row, position - 1].
    """

    tokens: NDArray[np.int64]
    weights: NDArray[np.float32]


class Corpus:
    """Rows for any step of the training, from the seed and the step's number alone.

    No state is carried from step to step, so that a resumed training reads on where it stopped.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        seed: int,
        n_ctx: int,
        mark_weight: float = 4.0,
        strange_names: float = 0.3,
    ) -> None:
        """`strange_names`: share of the name texts in which any other tokens take the names' places."""
        self.tokenizer = tokenizer
        self.seed = seed
        self.n_ctx = n_ctx
        self.mark_weight = mark_weight
        self.strange_names = strange_names
        self.eot: int = end_of_text_id(tokenizer)
        self.n_vocab: int = tokenizer.get_vocab_size()

    def rows(self, step: int, count: int, repeat_share: float, length: int | None = None) -> Rows:
        """`count` rows of `length` tokens (the whole context if None), about `repeat_share` random repeats."""
        length = length or self.n_ctx
        rng = random.Random(f"{self.seed}:{step}")
        n_repeat = int(count * repeat_share + rng.random())
        tokens = np.full((count, length), self.eot, dtype=np.int64)
        weights = np.zeros((count, length), dtype=np.float32)
        for row in range(n_repeat):
            self._repeat_row(rng, tokens[row], weights[row])
        self._text_rows(rng, tokens[n_repeat:], weights[n_repeat:])
        return Rows(tokens, weights[:, 1:])

    def _repeat_row(self, rng: random.Random, tokens: NDArray[np.int64], weights: NDArray[np.float32]) -> None:
        """Fill a row with random tokens, a stretch of which comes back after a gap."""
        generator = np.random.default_rng(rng.getrandbits(64))
        size = len(tokens)
        tokens[1:] = generator.integers(1, self.n_vocab, size - 1)
        length = int(generator.integers(4, (size - 1) // 2 + 1))
        first = int(generator.integers(1, size - 2 * length + 1))
        again = int(generator.integers(first + length, size - length + 1))
        tokens[again : again + length] = tokens[first : first + length]
        # Only what can be known is learned: the repeat, but for its first token.
        weights[again + 1 : again + length] = 1

    def texts(self, step: int, count: int, length: int | None = None) -> Iterator[Placed]:
        """The documents of `count` rows without random repeats; before them every row has one end-of-text."""
        return self._placed(random.Random(f"{self.seed}:{step}"), count, length or self.n_ctx)

    def _text_rows(self, rng: random.Random, tokens: NDArray[np.int64], weights: NDArray[np.float32]) -> None:
        """Fill rows with whole documents, end-of-text between; the last of a row may be cut."""
        for placed in self._placed(rng, len(tokens), tokens.shape[1]):
            end = placed.at + len(placed.tokens)
            tokens[placed.row, placed.at : end] = placed.tokens
            weights[placed.row, placed.at : end] = placed.weights

    def _placed(self, rng: random.Random, count: int, length: int) -> Iterator[Placed]:
        source = documents(rng)
        row = 0
        at = 1
        while row < count:
            batch = [next(source) for _ in range(32)]
            encodings = self.tokenizer.encode_batch([document.text for document in batch])
            for document, encoding in zip(batch, encodings, strict=True):
                if row == count:
                    break
                ids, weights = self._document(rng, document, encoding.ids, encoding)
                size = min(len(ids), length - at)
                yield Placed(row, at, document, ids[:size], weights[:size])
                at += size
                if at >= length - 4:
                    row += 1
                    at = 1

    def _document(
        self, rng: random.Random, document: Document, ids: list[int], encoding: object
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ids and weights of a document, end-of-text at the end."""
        tokens = np.array([*ids, self.eot], dtype=np.int64)
        weights = np.ones(len(tokens), dtype=np.float32)
        char_to_token = encoding.char_to_token  # type: ignore[attr-defined]
        for mark in document.marks:
            # The leading space belongs to the token; ask for the character after it.
            weights[char_to_token(mark + 1)] = self.mark_weight
        if document.names and rng.random() < self.strange_names:
            for name in document.names:
                token = self.tokenizer.token_to_id("Ġ" + name)
                if token is not None:
                    tokens[:-1][np.array(ids) == token] = rng.randrange(300, self.n_vocab)
        return tokens, weights
