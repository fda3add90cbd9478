"""Features of a residual stream, some for the answer and some against it, some of them with a label."""

from __future__ import annotations

import numpy as np

from mechtui.session.dictionaries import About
from mechtui.session.document import SaeName
from mechtui.views.circuit import Scored
from mechtui.views.example import COUNT, NEXT, Example, numbers
from mechtui.views.features import WORDS, Features, FeaturesAnswer

MOST = 12
LABELS = (
    "a name that was said",
    "gave a … to",
    "",
    "prepositions before a person",
    "",
    "the store",
    "",
    "",
    "",
    "",
    "",
    "",
)
HOOK = "blocks.8.hook_resid_pre"

LINES = ("features feats", "features feats @3 value top4", "features feats share difference")


def example() -> Example:
    return Example(Features(SaeName("res8")), _answer(0), _answer(1))


def _answer(seed: int) -> FeaturesAnswer:
    features = np.array([573, 20112, 1262, 77, 2041, 3, 640, 1999, 8, 256, 2811, 90], dtype=np.int32)
    values = numbers(1, MOST, COUNT, low=-6, high=9).clip(0)
    values[:, -1] = 9 * np.exp(-np.arange(MOST) / 4) * (1 - 0.4 * seed * (np.arange(MOST) % 2))
    size = 1.2 * np.exp(-np.arange(MOST) / 4) * np.where(np.arange(MOST) % 3 == 2, -1, 1)
    attribution = (size * (1 - 0.4 * seed * (np.arange(MOST) % 2))).astype(np.float32)
    norm, error = numbers(2, COUNT, low=60, high=80), numbers(3 + seed, COUNT, low=9, high=14)
    rest, bias, error_adds = 0.21, -0.34, 0.47 - 0.1 * seed
    return FeaturesAnswer(
        About("res8", "SAELens", "standard", "saes/sae_weights.safetensors", HOOK, HOOK, 24576, 768),
        COUNT - 1,
        features,
        values[:, -1],
        values,
        (values[:, -1] / 40).astype(np.float32),
        LABELS,
        _words(1, 5.0),
        _words(7, -3.0),
        ("love", "neuron"),
        numbers(5, MOST, 2, low=-0.4, high=0.4),
        np.round(numbers(6, COUNT, low=40, high=80)),
        norm,
        error,
        COUNT - 1,
        58.3,
        0.942,
        attribution=attribution,
        rest=rest,
        bias=bias,
        skip=0.0,
        error=error_adds,
        total=float(attribution.sum()) + rest + bias + error_adds,
        loss=2.91,
        loss_reconstructed=3.02,
        loss_zeroed=9.8,
        loss_recovered=0.984,
        answer=NEXT[0],
        foil=NEXT[1],
    )


def _words(first: int, most: float) -> tuple[tuple[Scored, ...], ...]:
    return tuple(
        tuple(Scored(NEXT[(first + row + at) % len(NEXT)], most * float(np.exp(-at / 4))) for at in range(WORDS))
        for row in range(MOST)
    )
