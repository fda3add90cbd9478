"""Seven days in a circle, a little uneven; an edit moves them, and makes it flatter."""

from __future__ import annotations

import numpy as np

from mechtui.views.example import Example, numbers
from mechtui.views.geometry import COMPONENTS, Geometry, GeometryAnswer

LINES = (
    "geometry",
    'geometry L1.pre "Mary" "John" "store" "drink" in "to the {}"',
    "geometry L0.mlp numbers",
)


def example() -> Example:
    words = Geometry().shown_words
    angles = 2 * np.pi * (np.arange(len(words)) + numbers(3, len(words), high=0.4)) / len(words)
    circle = 9 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    rest = numbers(4, len(words), COMPONENTS - 2, low=-2, high=2)
    places = np.concatenate([circle, rest], axis=1)
    places = (places - places.mean(0)).astype(np.float32)
    flat = (places * np.array([1.1, 0.4, *[1] * (COMPONENTS - 2)])).astype(np.float32)
    moved = flat + numbers(5, COMPONENTS, low=-3, high=3)

    def answer(places: np.ndarray, in_clean: np.ndarray) -> GeometryAnswer:
        spread = (places**2).sum(0)
        left_out = ("zero L9H9 @-1: it names positions of the prompt",)
        return GeometryAnswer(
            words, 6, "post", (spread / spread.sum()).astype(np.float32), places, in_clean.astype(np.float32), left_out
        )

    return Example(Geometry(), answer(places, places), answer(flat, moved))
