"""Many texts at once, each with its own edits. Texts of one length run together, so that nothing is ever padded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from mechtui.engine.apply import Givens
from mechtui.engine.forward.taps import Taps
from mechtui.engine.memory import ran_out
from mechtui.engine.overlap import in_order
from mechtui.engine.runner import NOTHING, Runner, Text
from mechtui.engine.variants import batch_tokens
from mechtui.session.hook_edits import Ids


class Part(NamedTuple):
    """Some texts' results. numbers: which; logits [text, d_vocab] float32 after the last token of each."""

    numbers: list[int]
    logits: Tensor


def parts_of(
    runner: Runner, texts: Sequence[Text], cancelled: Callable[[], bool], given: Givens = NOTHING
) -> Iterator[Part]:
    """Every text's logits after its last token, batch by batch, the short texts first; equal to one-by-one runs but for
    rounding. Nothing of these runs is kept. given: what some edits take, where they do not say themselves from which
    run. On out of memory the batch halves; of one text alone it is raised. Raises Cancelled between two blocks."""
    order = sorted(range(len(texts)), key=lambda number: len(texts[number][0]))
    most, at = batch_tokens(runner), 0
    while at < len(order):
        length = len(texts[order[at]][0])
        size = max(1, most // length)
        numbers = [number for number in order[at : at + size] if len(texts[number][0]) == length]
        try:
            logits = _last_logits(runner, [texts[number] for number in numbers], cancelled, given)
        except (RuntimeError, MemoryError) as error:
            if len(numbers) == 1 or not ran_out(error):
                raise
            most = len(numbers) // 2 * length
            continue
        at += len(numbers)
        yield Part(numbers, logits)


@torch.inference_mode()
def run_ahead(runner: Runner, texts: Sequence[Text], cancelled: Callable[[], bool]) -> None:
    """Run texts so that the runner has their traces, as if each had been run alone; those that it has, it keeps. With
    more texts, or longer ones, than it has room for, the first are forgotten. Raises Cancelled."""
    texts = [(ids, in_order(edits)) for ids, edits in texts]
    missing = [text for text in dict.fromkeys(texts) if runner.store.known(*text) is None]
    most = batch_tokens(runner)
    for length in sorted({len(ids) for ids, _ in missing}):
        alike = [text for text in missing if len(text[0]) == length]
        size = max(1, most // length)
        for at in range(0, len(alike), size):
            for trace in runner.traces(alike[at : at + size], cancelled):
                runner.store.keep(trace)


@torch.inference_mode()
def means_of(
    runner: Runner, texts: Sequence[Ids], hooks: Sequence[str], cancelled: Callable[[], bool]
) -> dict[str, Tensor]:
    """Of texts of one length the mean of these activations of their clean runs, position by position [pos, ...], in
    float32. Raises Cancelled."""
    sums: dict[str, Tensor] = {}

    def add(hook: str, value: Tensor) -> None:
        total = value.float().sum(0)
        sums[hook] = sums[hook] + total if hook in sums else total

    size = max(1, batch_tokens(runner) // len(texts[0]))
    for at in range(0, len(texts), size):
        batch = runner.batch([(ids, ()) for ids in texts[at : at + size]], cancelled)
        residual = batch.residual
        for layer in range(runner.n_layers):
            looks: Taps = {hook: [partial(add, hook)] for hook in hooks if hook.startswith(f"blocks.{layer}.")}
            residual = runner.forward.through(
                residual, batch.calls, range(layer, layer + 1), None, [], {}, (), 0, cancelled, looks=looks
            ).stream[-1]
    return {hook: total / len(texts) for hook, total in sums.items()}


@torch.inference_mode()
def _last_logits(
    runner: Runner, texts: Sequence[Text], cancelled: Callable[[], bool], given: Givens = NOTHING
) -> Tensor:
    batch = runner.batch(texts, cancelled, given)
    residual = batch.residual
    for layer in range(runner.n_layers):
        own = range(layer, layer + 1)  # block by block, so that what has passed is let go of
        residual = runner.forward.through(
            residual,
            batch.calls,
            own,
            None,
            batch.here(own),
            batch.givens,
            (),
            0,
            cancelled,
            sent=batch.sent,
        ).stream[-1]
    return runner.forward.logits(residual[:, -1:])[:, 0].float()
