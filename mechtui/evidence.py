"""What many numbers say together: their mean, how sure it is, and how many of them agree with its sign."""

from __future__ import annotations

import math

import msgspec
import numpy as np

# Samples with replacement, the seed that they are drawn from, and the share of their means that the interval holds.
SAMPLES, SEED, SHARE = 2000, 0, 0.95
# Numbers that are drawn at once: 8 MB.
AT_ONCE = 1_000_000


class Summary(msgspec.Struct, frozen=True):
    """n: how many numbers there are; with none all others are NaN. mean. low, high: the bootstrap's 95 % interval of
    the mean, by percentiles; NaN for a single number. sd: their spread, with n - 1; NaN for a single number. share: of
    them that have the mean's sign, 0..1."""

    n: int
    mean: float = math.nan
    low: float = math.nan
    high: float = math.nan
    sd: float = math.nan
    share: float = math.nan


def summary(values: np.ndarray) -> Summary:
    """Of those that are finite."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    count = len(known)
    if not count:
        return Summary(0)
    mean = float(known.mean())
    share = float((np.sign(known) == np.sign(mean)).mean())
    if count == 1:
        return Summary(1, mean, share=share)
    low, high = np.quantile(bootstrap(known), ((1 - SHARE) / 2, (1 + SHARE) / 2))
    return Summary(count, mean, float(low), float(high), float(known.std(ddof=1)), share)


def bootstrap(values: np.ndarray) -> np.ndarray:
    """[SAMPLES]: the means of samples of as many of the values, with replacement; the same every time."""
    rng = np.random.default_rng(SEED)
    each = max(1, AT_ONCE // len(values))
    means = [
        values[rng.integers(0, len(values), (min(each, SAMPLES - done), len(values)))].mean(1)
        for done in range(0, SAMPLES, each)
    ]
    return np.concatenate(means)
