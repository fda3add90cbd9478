"""A text in windows: tokens that are read together, and the window in which each of them counts."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from mechtui.session.hook_edits import Ids
from mechtui.views.contexts import BESIDE


@dataclass(frozen=True, eq=False)
class Context:
    """A place in a text. before, after: up to BESIDE tokens on either side of id. text: the window's tokens up to it,
    without BOS: as a prompt they give the same activation."""

    before: Ids
    id: int
    after: Ids
    text: Ids


@dataclass(eq=False)
class Text:
    """mark: the fingerprint of the model's weights and of the text. front: BOS, where texts begin with it. ids: the
    text's tokens; of samples those that were written so far, one after the other. own: whether they are samples. body:
    a window's tokens of the text; step: how much further each window begins. windows: how many there are."""

    mark: str
    front: Ids
    ids: np.ndarray
    own: bool
    body: int
    step: int
    windows: int

    @property
    def window(self) -> int:
        """Tokens that are read at once."""
        return len(self.front) + self.body

    @property
    def written(self) -> int:
        """Windows whose tokens are there."""
        return len(self.ids) // self.body if self.own else self.windows

    def first(self, window: int) -> int:
        """The place in a window's tokens of the text of the first that counts: each token counts in the first window
        that has it, and one that nothing stands before in none."""
        return max(self.body - self.step if window else 0, 0 if self.front else 1)

    def window_of(self, place: int) -> int:
        """The window in which this token of the text counts."""
        return max(math.ceil((place - self.body + 1) / self.step), 0)

    def counted(self, windows: int) -> int:
        """Tokens that count in the first so many windows."""
        if not windows:
            return 0
        missing = 0 if self.own else max((windows - 1) * self.step + self.body - len(self.ids), 0)
        return self.body - self.first(0) + (windows - 1) * (self.body - self.first(1)) - missing

    def tokens(self, window: int) -> Ids:
        """What is read of a window."""
        begin = window * self.step
        return (*self.front, *self.ids[begin : begin + self.body].tolist())

    def digest(self, windows: int) -> str:
        """Of the tokens of the first so many windows."""
        ids = self.ids[: max(windows - 1, 0) * self.step + self.body].astype("<i4")
        return hashlib.sha256(ids.tobytes()).hexdigest()[:32]

    def context(self, place: int) -> Context:
        begin = self.window_of(place) * self.step
        end = min(begin + self.body, place + 1 + BESIDE)

        def part(begin: int, end: int) -> Ids:
            return tuple(self.ids[begin:end].tolist())

        before, after = part(max(begin, place - BESIDE), place), part(place + 1, end)
        return Context(before, int(self.ids[place]), after, part(begin, place + 1))
