"""Head cards: what each head of a model does on random tokens said twice, and whether its OV circuit copies.

They are measured once per model and kept on the disk, one file for each, so that the next start has them at once. The
numbers belong to the weights, not to a name: the file is found by a fingerprint of the weights.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from mechtui.engine import repeats, weights
from mechtui.engine.circuits import norm_of
from mechtui.engine.errors import Cancelled
from mechtui.engine.forward.forward import Forward
from mechtui.engine.model import Model
from mechtui.engine.readout import Norm
from mechtui.none import NONE
from mechtui.session.paths import cache_dir, private_folder, write_private

# Of what is measured and how: cards of another version are measured anew.
VERSION = 1
# Numbers of a tensor that its fingerprint is made of.
SAMPLED = 64
# Columns of the unembedding that are multiplied at once: 8,192 of 4,096 float32 numbers are 134 MB.
TOKENS_AT_ONCE = 8192
# Words of the text that shows a repeat; more do not fit beside each other on a screen.
SHOWN = 12

Table = list[list[float | None]]


class HeadCards(msgspec.Struct, frozen=True):
    """Tables are [layer][head], None for what cannot be computed. lengths: of the stretches that were said twice;
    count: texts of each. bos: whether a text began with BOS."""

    version: int
    fingerprint: str
    model: str
    dtype: str
    bos: bool
    lengths: tuple[int, ...]
    count: int
    induction: Table
    previous: Table
    duplicate: Table
    first: Table
    copying: Table


class CardIndex:
    """The head cards of the model that is loaded: read from the disk, or measured and written there."""

    def __init__(self, model: Model, forward: Forward) -> None:
        self.model = model
        self.forward = forward
        self._known: HeadCards | None = None
        self._done: dict[int, repeats.Scores] = {}  # by length: an interrupted measuring goes on from here
        self._example: str | None = None

    def cards(
        self, cancelled: Callable[[], bool], progress: Callable[[float], None]
    ) -> Iterator[tuple[HeadCards, bool]]:
        """The cards, and whether better ones follow: while they are measured, there are some after each length. Raises
        Cancelled between two blocks; a length that is done by then is not measured again."""
        mark = fingerprint(self.model) if self._known is None else self._known.fingerprint
        if self._known is None:
            self._known = read(mark, (self.forward.n_layers, self.model.shape.n_heads))
        if self._known is not None:
            yield self._known, False
            return
        lengths = repeats.lengths_for(self.model.shape.n_ctx)
        ids = repeats.ordinary(self.model.tokenizer, self.model.shape.d_vocab)
        for number, length in enumerate(lengths):
            before, part = sum(lengths[:number]) / sum(lengths), length / sum(lengths)
            if length not in self._done:
                texts = repeats.repeats(ids, first_id(self.model), length)
                self._done[length] = self._scores(texts, length, cancelled, partial(_within, progress, before, part))
            yield self._cards(mark, lengths[: number + 1]), True
        self._known = self._cards(mark, lengths, copying(self.model.bridge, cancelled))
        write(self._known)
        yield self._known, False

    def _cards(self, mark: str, lengths: tuple[int, ...], copies: Tensor | None = None) -> HeadCards:
        """Of these lengths, which are done."""

        def mean(name: str) -> Table:
            return _table(torch.stack([getattr(self._done[length], name) for length in lengths]).mean(0))

        ready = self.model.ready
        induction = mean("induction")
        return HeadCards(
            version=VERSION,
            fingerprint=mark,
            model=ready.name,
            dtype=ready.dtype,
            bos=first_id(self.model) is not None,
            lengths=lengths,
            count=repeats.COUNT,
            induction=induction,
            previous=mean("previous"),
            duplicate=mean("duplicate"),
            first=mean("first"),
            copying=[[None] * len(row) for row in induction] if copies is None else _table(copies),
        )

    @torch.inference_mode()
    def _scores(
        self, texts: Tensor, length: int, cancelled: Callable[[], bool], progress: Callable[[float], None]
    ) -> repeats.Scores:
        """[layer, head] each, means over the texts [text, pos]."""
        forward, n_layers = self.forward, self.forward.n_layers
        rows = [text.tolist() for text in texts]
        calls = forward.calls_for(rows[0])
        residual = torch.cat([forward.prelude(row, (), {}, (), forward.empty_cache(), 0)[0] for row in rows])
        found: list[repeats.Scores] = []

        def look(pattern: Tensor) -> None:
            found.append(repeats.scores(pattern.float().mean(0), length))

        for layer in range(n_layers):
            hook = f"blocks.{layer}.attn.hook_pattern"
            passed = forward.through(
                residual, calls, range(layer, layer + 1), None, (), {}, (), 0, cancelled, looks={hook: [look]}
            )
            residual = passed.stream[-1]
            progress((layer + 1) / n_layers)
        names = ("induction", "previous", "duplicate", "first")
        return repeats.Scores(*(torch.stack([getattr(each, name).cpu() for each in found]) for name in names))

    @property
    def example(self) -> str:
        """A text of random words said twice, which the tokenizer reads as that many tokens; empty where its tokens are
        no words that can be told apart."""
        if self._example is None:
            self._example = _example(self.model)
        return self._example


def first_id(model: Model) -> int | None:
    """The token that stands before a text where this model's texts begin with one."""
    return model.bos_id if model.prepends("auto") else None


@torch.inference_mode()
def copying(bridge: Any, cancelled: Callable[[], bool]) -> Tensor:
    """[layer, head]: the sum of the eigenvalues of a head's full OV circuit W_U W_O W_V W_E over the sum of their sizes
    (Elhage et al. 2021), -1..1; NaN where the bridge does not have these weights, or a norm is of an unknown kind.

    The eigenvalues that are not 0 are those of the d_head x d_head product in the order W_V W_E W_U W_O. The matrices
    are those of TransformerLens's processed weights: with what the norms do to every stream alike (weight, centring),
    and without what W_U adds to all logits, which changes no probability. Raises Cancelled between two layers.
    """
    n_layers, n_heads = int(bridge.cfg.n_layers), int(bridge.cfg.n_heads)
    found = torch.full((n_layers, n_heads), NONE)
    embedding, unembedding = weights.W_E(bridge), weights.W_U(bridge)
    like = unembedding[:, 0]
    if embedding.shape != unembedding.T.shape:
        return found
    try:
        final = Norm(bridge.ln_final, like)
        norms = [tuple(norm_of(block, name, like) for name in ("ln1", "ln1_post")) for block in bridge.blocks]
    except ValueError:
        return found
    to_all = unembedding.float().mean(1, keepdim=True)
    # [d_model, d_model]: from what a head wrote, over the vocabulary, to what a head reads of that token.
    around = torch.zeros(len(like), len(like), device=like.device)
    for begin in range(0, len(embedding), TOKENS_AT_ONCE):
        if cancelled():
            raise Cancelled
        columns = unembedding[:, begin : begin + TOKENS_AT_ONCE].float() - to_all
        around += final.transposed(columns.T).T @ embedding[begin : begin + TOKENS_AT_ONCE].float()
    for layer in range(n_layers):
        if cancelled():
            raise Cancelled
        values = weights.reading(bridge, layer, "W_V")
        if values is None:
            continue
        read, written = values.float().mT, weights.W_O(bridge, layer).float()
        before, behind = norms[layer]
        read = read if before is None else before.transposed(read)
        written = written if behind is None else behind.linear(written)
        product = (written @ around.to(written.device)) @ read.mT.to(written.device)
        eigenvalues = torch.linalg.eigvals(product.double().cpu())
        found[layer] = (eigenvalues.real.sum(-1) / eigenvalues.abs().sum(-1)).float()
    return found


def _example(model: Model) -> str:
    ids = repeats.ordinary(model.tokenizer, model.shape.d_vocab)
    generator = torch.Generator().manual_seed(repeats.SEED)
    words: list[str] = []
    for place in torch.randperm(len(ids), generator=generator).tolist():
        text = model.token(int(ids[place])).text
        if text.startswith(" ") and len(text) > 3 and text[1:].isascii() and text[1:].isalpha():
            words.append(text)
        if len(words) == SHOWN:
            break
    said = "".join(words) * 2
    return said if len(words) == SHOWN and len(model.encode(said, "no")) == 2 * SHOWN else ""


def _table(values: Tensor) -> Table:
    return [[value if math.isfinite(value) else None for value in row] for row in values.tolist()]


def _within(progress: Callable[[float], None], before: float, part: float, share: float) -> None:
    """Tell how much of the whole is done when this share of a part is."""
    progress(before + part * share)


# On the disk


def fingerprint(model: Model) -> str:
    """Of all that the numbers depend on: the shape and configuration, the token that a text begins with, and of every
    tensor its name, shape, type and some of its numbers, as they are loaded."""
    config: Any = getattr(model.bridge.original_model, "config", None)
    said: dict[str, Any] = config.to_dict() if hasattr(config, "to_dict") else {}
    told = {name: value for name, value in said.items() if not name.startswith("_") and name != "transformers_version"}
    mark = hashlib.sha256(repr((model.shape, first_id(model), sorted(told.items()))).encode())
    for name, tensor in sorted(model.bridge.original_model.state_dict().items()):
        flat = tensor.detach().reshape(-1)
        some = flat[:: max(len(flat) // SAMPLED, 1)][:SAMPLED].float().cpu().numpy()
        mark.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        mark.update(some.tobytes())
    return mark.hexdigest()[:32]


def file_for(mark: str) -> Path:
    return cache_dir() / "heads" / f"{mark}.json"


def read(mark: str, shape: tuple[int, int]) -> HeadCards | None:
    """The cards with this fingerprint; None where there are none, or none of this version and shape that are whole."""
    try:
        cards = msgspec.json.decode(file_for(mark).read_bytes(), type=HeadCards)
    except (OSError, msgspec.DecodeError):
        return None
    tables = (cards.induction, cards.previous, cards.duplicate, cards.first, cards.copying)
    if (cards.version, cards.fingerprint) != (VERSION, mark):
        return None
    if any(len(table) != shape[0] or {len(row) for row in table} != {shape[1]} for table in tables):
        return None
    return cards


def write(cards: HeadCards) -> None:
    """Where they cannot be written, they are measured again at the next start."""
    try:
        path = file_for(cards.fingerprint)
        private_folder(path.parent)
        write_private(path, msgspec.json.encode(cards))
    except OSError:
        return
