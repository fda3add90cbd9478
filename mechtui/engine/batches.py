"""Many texts at once, each with its own edits. Texts of one length run together, so that nothing is ever padded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from mechtui.engine.apply import Givens, Rows, rows_of
from mechtui.engine.forward.cache import keys_values
from mechtui.engine.forward.taps import Taps
from mechtui.engine.memory import ran_out
from mechtui.engine.overlap import in_order
from mechtui.engine.pieces import Pieces
from mechtui.engine.runner import Runner
from mechtui.engine.trace import Trace
from mechtui.engine.variants import batch_tokens
from mechtui.session.hook_edits import HookEdit, HookEdits, Ids

# A text's tokens, and what acts on its run.
Text = tuple[Ids, HookEdits]
NOTHING: Givens = {}


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
            for trace in _traces(runner, alike[at : at + size], cancelled):
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
        together = _Together(runner, [(ids, ()) for ids in texts[at : at + size]], cancelled)
        residual = together.residual
        for layer in range(runner.n_layers):
            looks: Taps = {hook: [partial(add, hook)] for hook in hooks if hook.startswith(f"blocks.{layer}.")}
            residual = runner.forward.through(
                residual, together.calls, range(layer, layer + 1), None, [], {}, (), 0, cancelled, looks=looks
            ).stream[-1]
    return {hook: total / len(texts) for hook, total in sums.items()}


class _Together:
    """Texts of one length before block 0: row i of the batch is text i."""

    def __init__(
        self, runner: Runner, texts: Sequence[Text], cancelled: Callable[[], bool], given: Givens = NOTHING
    ) -> None:
        self._rows = rows_of(in_order(edits) for _, edits in texts)
        every = tuple(edit for edit, _ in self._rows)
        self.givens: Givens = {**given, **runner.givens.of(every, cancelled)}
        ids = [ids for ids, _ in texts]
        self.calls = runner.forward.calls_for(ids[0])
        self.sent = runner.sent(every, cancelled)
        self.residual = runner.forward.embedded(ids, self.here(range(-1, 0)), self.givens, self.sent)

    def here(self, layers: range) -> list[tuple[HookEdit, Rows]]:
        """What acts in these layers, and on which rows."""
        return [(edit, rows) for edit, rows in self._rows if edit.layer in layers]


@torch.inference_mode()
def _last_logits(
    runner: Runner, texts: Sequence[Text], cancelled: Callable[[], bool], given: Givens = NOTHING
) -> Tensor:
    together = _Together(runner, texts, cancelled, given)
    residual = together.residual
    for layer in range(runner.n_layers):
        own = range(layer, layer + 1)  # block by block, so that what has passed is let go of
        residual = runner.forward.through(
            residual,
            together.calls,
            own,
            None,
            together.here(own),
            together.givens,
            (),
            0,
            cancelled,
            sent=together.sent,
        ).stream[-1]
    return runner.forward.logits(residual[:, -1:])[:, 0].float()


def _traces(runner: Runner, texts: Sequence[Text], cancelled: Callable[[], bool]) -> Iterator[Trace]:
    together = _Together(runner, texts, cancelled)
    cache, every = runner.forward.empty_cache(), range(runner.n_layers)
    passed = runner.forward.through(
        together.residual,
        together.calls,
        every,
        cache,
        together.here(every),
        together.givens,
        (),
        0,
        cancelled,
        sent=together.sent,
    )
    pairs = None if cache is None else keys_values(cache)
    for row, (ids, edits) in enumerate(texts):
        # Copies: a trace that is let go of frees its own memory.
        own = slice(row, row + 1)
        yield Trace(
            ids,
            edits,
            [Pieces(each[own].clone()) for each in passed.stream],
            [Pieces(each[own].clone()) for each in passed.z],
            None if pairs is None else [(keys[own].clone(), values[own].clone()) for keys, values in pairs],
        )
