"""What is read of a trace: logits, norms, surprise. No block runs for it."""

from __future__ import annotations

import torch
from torch import Tensor

from mechtui.engine.pieces import Pieces
from mechtui.engine.readout import Readout
from mechtui.engine.trace import Trace

# Positions unembedded at once: 64 rows of a 50,000-token vocabulary are 13 MB.
SURPRISE_POSITIONS = 64


@torch.inference_mode()
def logits(readout: Readout, trace: Trace, positions: slice | list[int] = slice(None)) -> Tensor:
    """[pos, d_vocab] float32, of the positions asked for."""
    if isinstance(positions, list) and len(positions) == 1:
        # The unembedding of one position costs as much as a block; several views ask for the same one.
        position = positions[0] % len(trace.ids)
        if position not in trace.logits_at:
            if trace.held is not None:
                trace.logits_at[position] = trace.held.logits([position])[0]
            else:
                last = trace.resid[-1].part(position, position + 1)
                trace.logits_at[position] = readout.logits(last)[0, 0].float()
        return trace.logits_at[position][None]
    if trace.held is not None:
        return trace.held.logits(positions)
    return readout.logits(trace.resid[-1].whole[:, positions])[0].float()


def best(readout: Readout, trace: Trace, position: int, count: int) -> list[int]:
    """The ids of the `count` largest logits at a position, the largest first; a small vocabulary has fewer."""
    known = trace.best_at.get(position, [])
    if len(known) < count:
        at = logits(readout, trace, [position])[0]
        known = trace.best_at[position] = at.topk(min(count, len(at))).indices.tolist()
    return known[:count]


@torch.inference_mode()
def surprise(readout: Readout, trace: Trace) -> Tensor:
    """[pos] -ln p(token | those before it) in nats, NaN for the first."""
    done = trace.surprise if trace.surprise is not None else torch.full((1,), torch.nan)
    parts = [done]
    for begin in range(len(done), len(trace.ids), SURPRISE_POSITIONS):
        end = min(begin + SURPRISE_POSITIONS, len(trace.ids))
        said = logits(readout, trace, slice(begin - 1, end - 1))
        came = torch.tensor(trace.ids[begin:end], device=said.device)[:, None]
        parts.append((said.logsumexp(-1) - said.gather(-1, came)[:, 0]).cpu())
    trace.surprise = torch.cat(parts)
    return trace.surprise


@torch.inference_mode()
def norm(trace: Trace, layer: int) -> Tensor:
    """[pos]: the L2 norm of what enters a block (layer n_layers: of what leaves the last)."""
    done = trace.norms.get(layer)
    if done is None or len(done) < len(trace.ids):
        rest = trace.resid[layer].part(0 if done is None else len(done))[0].float().norm(dim=-1)
        done = trace.norms[layer] = rest if done is None else torch.cat([done, rest])
    return done


@torch.inference_mode()
def overflows(trace: Trace) -> int | None:
    """The first layer that a number leaves which is not finite; None if all that leaves the last block are."""

    def finite(residual: Pieces) -> bool:
        return all(bool(piece.isfinite().all()) for piece in residual.pieces)

    if trace.finite is None:
        trace.finite = finite(trace.resid[-1])
    if trace.finite:
        return None
    first = next(number for number, residual in enumerate(trace.resid) if not finite(residual))
    return max(first - 1, 0)
