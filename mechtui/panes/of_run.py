"""Which run's numbers a pane shows: the clean one's, the edited one's, or the difference of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from mechtui.link.messages import Answered

A = TypeVar("A")

NO_DIFFERENCE = "no edit is on: there is no difference to show"


@dataclass(frozen=True, eq=False)
class OfRun(Generic[A]):
    """answer: of the run that is shown; of a difference the edited one's. less: what is taken from its numbers."""

    answer: A
    less: A | None = None

    def of(self, read: Callable[[A], np.ndarray]) -> np.ndarray:
        """Numbers of the answer, less those of the other one."""
        values = read(self.answer)
        return values if self.less is None else values - read(self.less)

    def values(self, name: str) -> np.ndarray | None:
        """The same by their name; None where an answer has none."""
        values: np.ndarray | None = getattr(self.answer, name)
        taken: np.ndarray | None = None if self.less is None else getattr(self.less, name)
        return values if values is None or taken is None else values - taken

    def number(self, name: str) -> float:
        return float(getattr(self.answer, name)) - (0.0 if self.less is None else float(getattr(self.less, name)))


def of_run(answered: Answered | None, kind: type[A], run: str) -> OfRun[A] | None:
    """run: clean, edited or difference, as a question line has it. None where there is nothing to show (yet)."""
    if answered is None or not isinstance(answered.clean, kind):
        return None
    clean, edited = answered.clean, answered.edited
    if not isinstance(edited, kind):
        return None if run == "difference" else OfRun(clean)
    return OfRun(clean if run == "clean" else edited, clean if run == "difference" else None)
