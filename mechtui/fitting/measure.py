"""How far each layer is from the end through a lens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from mechtui.engine.api import Engine
from mechtui.engine.model import Model
from mechtui.engine.translators import Translator

# Rows that are measured, and numbers of the logits of one product.
MOST_ROWS, AT_ONCE = 32, 1 << 24


@torch.no_grad()
def streams(engine: Engine, rows: Tensor) -> Tensor:
    """What leaves each block [layer, row, pos, d_model] of rows of ids [row, pos]."""
    forward = engine.runner.forward
    ids = rows.tolist()
    residual = torch.cat([forward.prelude(row, (), {}, (), forward.empty_cache(), 0)[0] for row in ids])
    layers = range(forward.n_layers)
    passed = forward.through(residual, forward.calls_for(ids[0]), layers, None, (), {}, (), 0, lambda: False)
    return torch.stack([each.to(residual.device) for each in passed.stream[1:]])


@torch.no_grad()
def kl(model: Model, rows: Tensor, translator: Translator | None, tell: Callable[[int, int], None]) -> list[float]:
    """KL(final || lens) of each layer in nats, the mean over the rows' positions but the first. translator: None for
    the logit lens."""
    engine = Engine(model)
    readout = engine.runner.forward.readout
    total, count = torch.zeros(model.shape.n_layers, dtype=torch.float64), 0
    rows = rows[:MOST_ROWS]
    at_once = max(AT_ONCE // model.shape.d_vocab, 1)
    for number, row in enumerate(rows):
        stream = streams(engine, row[None])[:, 0, 1:]
        for part in torch.split(stream, at_once, dim=1):
            final = readout.logits(part[-1]).float().log_softmax(-1)
            for layer, h in enumerate(part):
                through = h if translator is None else translator.translated(layer, h)
                here = readout.logits(through).float().log_softmax(-1)
                total[layer] += float((final.exp() * (final - here)).sum())
        count += stream.shape[1]
        tell(number + 1, len(rows))
    return (total / count).clamp_min(0).tolist()


def table(before: Sequence[float], after: Sequence[float]) -> Iterator[str]:
    """KL of each layer but the last, in lines."""
    yield f"{'KL(final || here), nats':24} {'logit lens':>10} {'this lens':>10}"
    for layer, (one, other) in enumerate(zip(before[:-1], after[:-1], strict=True)):
        yield f"L{layer}.post".ljust(24) + f" {one:10.4f} {other:10.4f}"
    means = [sum(each[:-1]) / (len(each) - 1) for each in (before, after)]
    yield f"{'mean':24} {means[0]:10.4f} {means[1]:10.4f}"
