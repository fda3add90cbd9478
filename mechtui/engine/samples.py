"""The model's own samples: texts that it writes by itself, many at once, at temperature 1."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mechtui.engine.cards import first_id
from mechtui.engine.errors import Cancelled, SessionError
from mechtui.engine.forward.cache import before, keys_values
from mechtui.engine.forward.forward import Forward
from mechtui.engine.model import Model
from mechtui.engine.repeats import ordinary
from mechtui.session.hook_edits import Ids

SEED = 0


def begins_with(model: Model) -> int | None:
    """The token that samples begin with: what stands before a text, or between two texts; None where the tokenizer has
    neither."""
    begin = first_id(model)
    return begin if begin is not None else getattr(model.tokenizer, "eos_token_id", None)


@torch.inference_mode()
def sampled(
    model: Model,
    forward: Forward,
    rows: int,
    length: int,
    number: int,
    cancelled: Callable[[], bool],
    progress: Callable[[float], None],
) -> list[Ids]:
    """`rows` texts of `length` tokens, the first of which is `begins_with`, or drawn where there is none. number: which
    ones; the same number gives the same texts. Raises Cancelled between two tokens, SessionError."""
    draw = torch.Generator().manual_seed(SEED + number)
    begin = begins_with(model)
    if begin is None:
        known = ordinary(model.tokenizer, model.shape.d_vocab)
        texts = [[int(id)] for id in known[torch.randint(len(known), (rows,), generator=draw)]]
    else:
        texts = [[begin] for _ in range(rows)]
    cache = forward.empty_cache()
    while len(texts[0]) < length:
        if cancelled():
            raise Cancelled
        # Without keys and values that can be kept the whole texts run again.
        offset = len(texts[0]) - 1 if cache is not None else 0
        # What comes before the blocks only counts what is kept.
        past = None
        if cache is not None:
            kept = before(keys_values(cache), offset) if offset else [None] * forward.n_layers
            past = forward.new_cache([None if pair is None else (pair[0][:1], pair[1][:1]) for pair in kept])
        ahead = [forward.prelude(text[offset:], (), {}, (), past, offset) for text in texts]
        residual, calls = torch.cat([first for first, _, _ in ahead]), ahead[0][1]
        for layer in range(forward.n_layers):
            residual = forward.through(
                residual, calls, range(layer, layer + 1), cache, (), {}, (), offset, cancelled
            ).stream[-1]
        logits = forward.logits(residual[:, -1:])[:, 0].float().cpu()
        if not bool(logits.isfinite().all()):
            why = f"its logits are not finite in {model.ready.dtype}"
            raise SessionError(f"{model.ready.name} writes no samples: {why}")
        for text, id in zip(texts, torch.multinomial(logits.softmax(-1), 1, generator=draw), strict=True):
            text.append(int(id))
        progress(len(texts[0]) / length)
    return [tuple(text) for text in texts]
