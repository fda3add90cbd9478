"""Which way a block runs: fast, once it was found to give what the bridge's gives; else as the bridge runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mechtui.engine.forward.block import Block, SomeRun
from mechtui.engine.forward.bridged import BridgedBlock
from mechtui.engine.forward.calls import Call
from mechtui.engine.forward.fast_blocks.fast_block import FUSED_FROM, FastBlock
from mechtui.engine.forward.fast_blocks.kinds import fast_blocks
from mechtui.engine.forward.from_z import same_from_z
from mechtui.engine.forward.hook_points import HookPoints
from mechtui.engine.forward.own_attention import OwnAttention
from mechtui.engine.forward.packed_linear import can_be_packed, close

# Positions on which a block is tried out: enough to see what it computes, few enough to cost little in a long prompt.
TRIAL = 8
# Of a type's precision, what two ways to compute a block may differ by.
ROUNDING = 100


class ChosenBlocks:
    """The blocks of one model.

    d_head: width of a head. folded: whether the norms' weights lie in what reads them. calls_of: the arguments of each
    block for a text of so many tokens. chosen: by layer, the block that runs, once that was tried out.
    """

    def __init__(
        self, points: HookPoints, d_head: int, folded: bool, calls_of: Callable[[int], Sequence[Call]]
    ) -> None:
        self.chosen: dict[int, Block] = {}
        self.candidates = fast_blocks(points.blocks)
        self._calls_of = calls_of
        self._packs = can_be_packed(each for block in self.candidates for each in block.products.values())
        attentions: list[OwnAttention | None] = [None] * len(points.blocks)
        if all(hasattr(block, "attn") for block in points.blocks):
            own = [OwnAttention(block.attn, d_head) for block in points.blocks]
            # The bridge folds what it splits, not the projection that gives all at once.
            if not (folded and any(attention.fused is not None for attention in own)):
                attentions = [*own]
        z_points = points.of_z()

        def bridged(layer: int, attention: OwnAttention | None) -> BridgedBlock:
            return BridgedBlock(points, layer, attention, z_points[layer] if z_points else None, self._exact_from_z)

        # With the model's own attention, and with the one that the bridge computes.
        self.bridged = [bridged(layer, attention) for layer, attention in enumerate(attentions)]
        self._plainly_bridged = [bridged(layer, None) for layer in range(len(attentions))]
        self._exact: bool | None = None

    def at(self, layer: int, residual: Tensor, call: Call, offset: int) -> Block:
        """The block that runs there. residual, call: what enters it now, and its arguments. offset: the first position;
        blocks are tried out when they first run from position 0."""
        block = self.chosen.get(layer)
        if block is None:
            block = self.bridged[layer]
            if offset == 0:
                if self.candidates:
                    block = self._tried(self.candidates[layer], residual, call) or block
                self.chosen[layer] = block
        return block

    def begins_at_z(self, layer: int, some_run: SomeRun) -> bool:
        """Whether the block of this layer may begin at z, as far as is known which one runs."""
        return self.chosen.get(layer, self.bridged[layer]).begins_at_z(some_run)

    def _exact_from_z(self, some_run: SomeRun) -> bool:
        """Whether the bridge's blocks give the same from a z; block 0 tells, once for a model."""
        if self._exact is None:
            first = self.bridged[0]

            def run(z: Tensor | None) -> tuple[Tensor, Tensor | None]:
                residual, calls = some_run()
                return first.run(residual, calls[0], None, {}, z)

            self._exact = first.has_z and same_from_z(first.module, run)
        return self._exact

    def _tried(self, fast: FastBlock, residual: Tensor, call: Call) -> FastBlock | None:
        """The fast block, packed if it can be; None where it gives something else than the bridge's."""
        layer = fast.layer
        if residual.shape[1] > TRIAL:
            residual, call = residual[:, :TRIAL], self._calls_of(TRIAL)[layer]
        residual = residual[:1]
        output, z = self._plainly_bridged[layer].run(residual, call, None, {})
        if z is None:
            return None
        if self.bridged[layer].attention is not None:
            # The bridge's attention is one computed anew: what it leaves out, the fast block may leave out too.
            own_output, _ = self.bridged[layer].run(residual, call, None, {})
            if not close(output, own_output, ROUNDING * torch.finfo(output.dtype).eps):
                return None

        def as_the_bridge(block: FastBlock, entering: Tensor, same: Callable[[Tensor, Tensor], bool]) -> bool:
            ours, our_z = block.run(entering, call, None, {})
            return our_z is not None and same(our_z, z) and same(ours, output)

        if not as_the_bridge(fast, residual, torch.equal):
            return None
        if self._packs:
            packed = fast.packed()
            # Twice the same text, since one token alone does not pass packed weights.
            entering = residual.expand(2, -1, -1)
            if as_the_bridge(packed, entering, close):
                packed.fused_from = 0
                packed.fused_from = FUSED_FROM if as_the_bridge(packed, entering, close) else None
                return packed
        return fast
