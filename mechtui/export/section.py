"""What a program consists of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Section:
    """A heading, a sentence or two, and the code that they speak of; each may be empty. In a notebook it is a cell of
    prose and one of code."""

    title: str
    prose: str = ""
    code: str = ""
