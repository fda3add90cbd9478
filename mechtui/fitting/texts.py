"""Rows of tokens to fit a lens on, and rows that are held out."""

from __future__ import annotations

import random
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from mechtui.embedded.text.corpus import documents
from mechtui.engine.model import Model
from mechtui.session.paths import MOST_TEXT, read_text

# Tokens of a row, with the one that a text begins with; rows; the share that is held out.
LENGTH, MOST_ROWS, HELD_OUT = 128, 2048, 8
# Documents of mechtui's own text, and what it is called.
OWN_DOCUMENTS, OWN = 6000, "mechtui's own text"
LEAST_ROWS = 4


class NoTextError(ValueError):
    """A text on which no lens can be fitted: one sentence."""


class Rows(NamedTuple):
    """fitted, held_out [row, pos]: ids. said: of what text."""

    fitted: Tensor
    held_out: Tensor
    said: str


def rows_for(model: Model, file: str | None, seed: int) -> Rows:
    """A text cut into rows, in an order that the seed decides; every eighth is held out. file: of the text, None for
    what the embedded models learn from. Raises NoTextError, PathError."""
    if file is None:
        # Another seed than the training's.
        text, said = "\n".join(each.text for each in islice(documents(random.Random(1)), OWN_DOCUMENTS)), OWN
    else:
        text, said = read_text(file, MOST_TEXT), file
    bos = [model.bos_id] if model.prepends("auto") and model.bos_id is not None else []
    length = min(LENGTH, model.shape.n_ctx)
    step = length - len(bos)
    ids = model.encode(text, "no")
    starts = range(0, len(ids) - step + 1, step)[:MOST_ROWS]
    if len(starts) < LEAST_ROWS:
        raise NoTextError(f"{said} has {len(ids):,} tokens, and a lens is fitted on {LEAST_ROWS * step:,} or more")
    rows = torch.tensor([[*bos, *ids[start : start + step]] for start in starts])
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))]
    out = torch.arange(len(rows)) % HELD_OUT == 0
    return Rows(rows[~out], rows[out], f"{said} ({int((~out).sum()):,} rows of {length} tokens)")
