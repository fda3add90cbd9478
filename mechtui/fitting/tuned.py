"""A tuned lens (Belrose et al. 2023): for each layer an affine map, trained to come near the final distribution.

h + W h + b, W and b begun at 0, which is the logit lens; the loss is KL(final || lens), each layer's alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mechtui.engine.api import Engine
from mechtui.engine.model import Model
from mechtui.fitting.fitted import Fitted
from mechtui.fitting.measure import AT_ONCE, streams

# Rows of one step; the first learning rate, which falls to 0, and the greatest norm of a layer's gradient.
ROWS, RATE, MOST_NORM = 8, 3e-3, 1.0


def fit(model: Model, rows: Tensor, steps: int, seed: int, tell: Callable[[str, int, int, str], None]) -> Fitted:
    """rows [row, pos]: ids. tell: is given what is done, how much of how much, and the loss. Raises KeyboardInterrupt
    where no step was done by then."""
    engine = Engine(model)
    width, layers, device = model.shape.d_model, model.shape.n_layers - 1, model.device
    matrices = [torch.zeros(width, width, device=device, requires_grad=True) for _ in range(layers)]
    biases = [torch.zeros(width, device=device, requires_grad=True) for _ in range(layers)]
    optimiser = torch.optim.Adam([*matrices, *biases], lr=RATE)
    falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
    generator = torch.Generator().manual_seed(seed)
    done, interrupted = 0, False
    try:
        for step in range(steps):
            some = torch.randint(len(rows), (min(ROWS, len(rows)),), generator=generator)
            stream = streams(engine, rows[some])[:, :, 1:].flatten(1, 2)
            loss = _step(engine, stream, matrices, biases)
            for layer in range(layers):
                torch.nn.utils.clip_grad_norm_([matrices[layer], biases[layer]], MOST_NORM)
            optimiser.step()
            falling.step()
            optimiser.zero_grad()
            done = step + 1
            tell("fitting", done, steps, f"step {done} of {steps}, KL {loss:.4f}")
    except KeyboardInterrupt:
        if not done:
            raise
        interrupted = True
    said = f"tuned lens, {done} of {steps} steps of {min(ROWS, len(rows))} rows"
    found, added = ({layer: each.detach() for layer, each in enumerate(of)} for of in (matrices, biases))
    return Fitted("tuned", found, added, said, interrupted)


def _step(engine: Engine, stream: Tensor, matrices: list[Tensor], biases: list[Tensor]) -> float:
    """Add to the gradients those of stream [layer, token, d_model]; the mean loss of all layers."""
    readout = engine.runner.forward.readout
    count = stream.shape[1]
    total = 0.0
    for part in torch.split(stream, max(AT_ONCE // engine.model.shape.d_vocab, 1), dim=1):
        with torch.no_grad():
            final = readout.logits(part[-1]).float().log_softmax(-1)
            shares = final.exp()
        for h, matrix, bias in zip(part, matrices, biases, strict=False):
            here = readout.logits(h + h @ matrix.T + bias).float().log_softmax(-1)
            loss = (shares * (final - here)).sum() / count
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
    return total / len(matrices)
