"""A continuation, clean and edited, that part after four tokens."""

from __future__ import annotations

from mechtui.session.document import Token
from mechtui.views.example import Example
from mechtui.views.generate import Generate, GenerateAnswer

LINES = ("generate 7 prompt", "generate 7 prompt temperature1.5 top_p0.9 seed3")


def example() -> Example:
    return Example(
        Generate(12),
        _answer(" Mary", ".", " She", " thanked", " him", " and", " went", " home", " with", " the", " drink", "."),
        _answer(" Mary", ".", " She", " thanked", " John", ",", " who", " smiled", " at", " the", " store", "."),
    )


def _answer(*words: str) -> GenerateAnswer:
    return GenerateAnswer(tuple(Token(200 + i, word) for i, word in enumerate(words)), True, "the count is reached")
