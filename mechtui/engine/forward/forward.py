"""A forward pass in pieces: what comes before the blocks, the blocks from any layer on, what comes after.

Which blocks run, from which residual and on which keys and values, is decided here; how a block runs is the block's
own affair. A whole run made of these pieces is bit-equal to the bridge's own forward, but for blocks with packed
weights, which are equal to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mechtui.engine.apply import EVERY_ROW, Givens, Rows
from mechtui.engine.errors import Cancelled
from mechtui.engine.forward.block import Body
from mechtui.engine.forward.cache import Cache, KeysValues
from mechtui.engine.forward.calls import Call
from mechtui.engine.forward.direct import DirectBody, DirectModel
from mechtui.engine.forward.paths import Sent, Weights
from mechtui.engine.forward.taps import Taps, taps_of
from mechtui.engine.needs import Need
from mechtui.engine.readout import Readout
from mechtui.session.hook_edits import HookEdit

# Lengths of text whose blocks' arguments are kept.
MOST_CALLS = 4


@dataclass(frozen=True)
class Passed:
    """What a pass through blocks leaves.

    stream: the residual [batch, pos, d_model] entering each of them and leaving the last. taken: what was needed.
    z: what the heads of each gave, before any edit [batch, pos, head * d_head]; empty where the model has no such
    point.
    """

    stream: list[Tensor]
    taken: dict[Need, Tensor]
    z: list[Tensor]


class Forward:
    """One model's forward pass."""

    def __init__(self, bridge: Any, device: torch.device, folded: bool = False) -> None:
        """folded: the norms' weights lie in what reads them."""
        self.device = device
        self.n_layers = len(bridge.blocks)
        self.body = _body(bridge, device, folded, self._calls_of)
        self.blocks, self.caches = self.body.blocks, self.body.caches
        self.windows, self.clips = self.body.windows, self.body.clips
        self.readout = Readout(bridge)
        self.weights = Weights(bridge)
        self._dtype: torch.dtype = next(bridge.parameters()).dtype
        self._calls: dict[int, list[Call]] = {}  # by the number of tokens, the latest last

    def empty_cache(self) -> Cache | None:
        """A cache with nothing before its positions; None where the model's runs cannot be resumed by position."""
        return self.new_cache([None] * self.n_layers) if self.caches else None

    def new_cache(self, before: Sequence[KeysValues | None]) -> Cache:
        """A cache for one pass, holding what lies before its positions, per layer."""
        return self.body.new_cache(before)

    def prelude(
        self,
        ids: Sequence[int],
        edits: Sequence[HookEdit],
        givens: Givens,
        needs: Sequence[Need],
        past: Cache | None,
        offset: int,
        sent: Sent | None = None,
    ) -> tuple[Tensor, list[Call], dict[Need, Tensor]]:
        """Everything before block 0: the residual that enters it [1, pos, d_model], the blocks' arguments, what was
        needed.

        ids: the new tokens; they follow the `offset` positions whose keys and values `past` holds. sent: notes what the
        embeddings send.
        """
        taken: dict[Need, Tensor] = {}
        taps = taps_of([(edit, EVERY_ROW) for edit in edits], givens, needs, offset, taken, self._dtype, sent)
        first, calls = self.body.before_blocks([ids], taps, past)
        if not offset:
            self._calls.pop(len(ids), None)
            self._calls[len(ids)] = calls
            if len(self._calls) > MOST_CALLS:
                del self._calls[next(iter(self._calls))]
        return first, calls, taken

    def embedded(
        self, texts: Sequence[Sequence[int]], edits: Sequence[tuple[HookEdit, Rows]], givens: Givens, sent: Sent
    ) -> Tensor:
        """The residual that enters block 0, of texts of one length [text, pos, d_model]. sent: notes what these
        send."""
        taps = taps_of(edits, givens, (), 0, {}, self._dtype, sent)
        return self.body.before_blocks(texts, taps, self.empty_cache())[0]

    def calls_for(self, ids: Sequence[int]) -> list[Call]:
        """The blocks' arguments (masks, rotations) for a whole run of that length; tokens do not matter."""
        if len(ids) not in self._calls:
            self.prelude(ids, (), {}, (), self.empty_cache(), 0)
        return self._calls[len(ids)]

    def _calls_of(self, count: int) -> list[Call]:
        return self.calls_for([0] * count)

    def through(
        self,
        residual: Tensor,
        calls: Sequence[Call],
        layers: range,
        cache: Cache | None,
        edits: Sequence[tuple[HookEdit, Rows]],
        givens: Givens,
        needs: Sequence[Need],
        offset: int,
        cancelled: Callable[[], bool],
        z: Tensor | None = None,
        looks: Taps | None = None,
        sent: Sent | None = None,
        last_alone: bool = False,
    ) -> Passed:
        """Blocks `layers`, from the residual [batch, pos, d_model] that enters the first of them.

        z: what the heads of the first of them gave; then that block begins behind them. looks: what is shown the
        values at a hook, of the whole batch. sent: what the senders of paths gave so far. last_alone: of the stream
        only what leaves the last block is kept, and of the heads nothing. Raises Cancelled between two blocks.
        """
        stream = [residual]
        taken: dict[Need, Tensor] = {}
        heads: list[Tensor] = []
        taps = taps_of(edits, givens, needs, offset, taken, self._dtype, sent)
        for hook, functions in (looks or {}).items():
            taps.setdefault(hook, []).extend(functions)
        # One z that stands for many variants is laid out for each: linear modules may view what they get.
        z = None if z is None else z.contiguous()
        for layer in layers:
            if cancelled():
                raise Cancelled
            block = self.blocks.at(layer, stream[-1], calls[layer], offset)
            output, gave = block.run(stream[-1], calls[layer], cache, taps, z if layer == layers.start else None)
            if last_alone:
                stream = [output]
                continue
            stream.append(output)
            if gave is not None:
                heads.append(gave)
        return Passed(stream, taken, heads)

    def heads(
        self,
        residual: Tensor,
        call: Call,
        layer: int,
        cache: Cache | None,
        edits: Sequence[tuple[HookEdit, Rows]],
        givens: Givens,
        offset: int,
        sent: Sent | None = None,
        looks: Taps | None = None,
    ) -> Tensor:
        """What the heads of one block give [batch, pos, head * d_head], before any edit at z. Nothing behind runs."""
        taps = taps_of(edits, givens, (), offset, {}, self._dtype, sent)
        for hook, functions in (looks or {}).items():
            taps.setdefault(hook, []).extend(functions)
        return self.blocks.at(layer, residual, call, offset).heads(residual, call, cache, taps)

    def logits(self, residual: Tensor) -> Tensor:
        """The final norm and the unembedding: [..., pos, d_model] -> [..., pos, d_vocab]."""
        return self.readout.logits(residual)


def _body(bridge: Any, device: torch.device, folded: bool, calls_of: Callable[[int], Sequence[Call]]) -> Body:
    if isinstance(bridge, DirectModel):
        return DirectBody(bridge, device)
    # It brings transformers, which takes seconds to import and which a direct model does without.
    from mechtui.engine.forward.bridged_body import BridgedBody

    return BridgedBody(bridge, device, folded, calls_of)
