"""A Jacobian lens (Gurnee et al. 2026), fitted by transformer-lens a text at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from transformer_lens.tools.analysis import JacobianLens

from mechtui.engine.errors import SessionError, first_line
from mechtui.engine.model import Model
from mechtui.fitting.fitted import Fitted

# Rows of the Jacobian that one backward pass gives.
AT_ONCE = 16


def fit(model: Model, rows: Tensor, count: int, seed: int, tell: Callable[[str, int, int, str], None]) -> Fitted:
    """rows [row, pos]: ids, in an order that the seed has decided; as many as `count` are taken. tell: is given what is
    done, how much of how much. Raises SessionError for a model that transformer-lens fits none for, and
    KeyboardInterrupt where no text was done by then."""
    lens: JacobianLens | None = None
    some, interrupted = rows[:count], False
    try:
        for number, row in enumerate(some):
            one = _one(model, row)
            lens = one if lens is None else JacobianLens.merge([lens, one])
            tell("fitting", number + 1, len(some), f"text {number + 1} of {len(some)}")
    except KeyboardInterrupt:
        if lens is None:
            raise
        interrupted = True
    assert lens is not None
    said = f"Jacobian lens, {lens.n_prompts} of {len(some)} texts"
    return Fitted("jacobian", lens.jacobians, {}, said, interrupted)


def _one(model: Model, row: Tensor) -> JacobianLens:
    length = len(row)
    try:
        with _reading(model.bridge, row):
            return JacobianLens.fit(
                model.bridge, ["a row"], corpus="mechtui", dim_batch=AT_ONCE, max_seq_len=length, show_progress=False,
                skip_first_positions=min(16, length // 4),
            )  # fmt: skip
    except (TypeError, ValueError) as error:
        problem = f"transformer-lens fits no Jacobian lens on {model.ready.name} ({first_line(error)})"
        raise SessionError(f"{problem}: --kind tuned fits another kind") from error


@contextmanager
def _reading(bridge: Any, row: Tensor) -> Iterator[None]:
    """The bridge, which has no tokenizer here, reads any text as this row of tokens."""
    bridge.to_tokens = lambda _text: row[None]
    try:
        yield
    finally:
        del bridge.to_tokens
