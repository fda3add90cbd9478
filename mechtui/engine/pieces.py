"""Tensors that grow with the text are kept in the pieces in which they were computed."""

from __future__ import annotations

import torch
from torch import Tensor

# More pieces than this are joined: whoever needs the whole would pay for each of them.
MOST_PIECES = 16


class Pieces:
    """[batch, pos, width] in pieces along the positions. A typed token adds a piece, which runs share; they are joined
    only where the whole is needed."""

    __slots__ = ("pieces",)

    def __init__(self, *pieces: Tensor) -> None:
        self.pieces = pieces

    @property
    def whole(self) -> Tensor:
        return self.part(0)

    def part(self, begin: int, end: int | None = None) -> Tensor:
        """Positions begin..end-1, all from `begin` on without an end; as a slice does, fewer where there are fewer."""
        parts: list[Tensor] = []
        for piece in self.pieces:
            count = piece.shape[1]
            if begin < count and (end is None or end > 0):
                parts.append(piece[:, max(begin, 0) : end])
            begin -= count
            end = None if end is None else end - count
        if not parts:
            return self.pieces[0][:, :0]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def continued(self, position: int, after: Tensor) -> Pieces:
        """The first `position` positions, and what comes after them."""
        pieces: list[Tensor] = []
        left = position
        for piece in self.pieces:
            if left > 0:
                pieces.append(piece[:, :left])
                left -= pieces[-1].shape[1]
        pieces.append(after)
        return Pieces(*pieces) if len(pieces) <= MOST_PIECES else Pieces(torch.cat(pieces, dim=1))
