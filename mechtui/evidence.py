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


class Ratio(msgspec.Struct, frozen=True):
    """A ratio of two means over n pairs, and the bootstrap's 95 % interval; NaN where it has none."""

    n: int
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan


def ratio(above: np.ndarray, below: np.ndarray) -> Ratio:
    """mean(above) / mean(below), of the pairs that are finite; each sample draws pairs."""
    both = np.stack([np.asarray(each, dtype=np.float64) for each in (above, below)], axis=1)
    both = both[np.isfinite(both).all(1)]
    count = len(both)
    if not count or both[:, 1].mean() == 0:
        return Ratio(count)
    value = float(both[:, 0].mean() / both[:, 1].mean())
    if count == 1:
        return Ratio(1, value)
    sampled = bootstrap(both)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = np.nanquantile(sampled[:, 0] / sampled[:, 1], ((1 - SHARE) / 2, (1 + SHARE) / 2))
    return Ratio(count, value, float(low), float(high))


def bootstrap(values: np.ndarray) -> np.ndarray:
    """[SAMPLES, ...]: the means of samples of as many of the values [n, ...], with replacement; the same every time."""
    rng = np.random.default_rng(SEED)
    each = max(1, AT_ONCE // len(values))
    means = [
        values[rng.integers(0, len(values), (min(each, SAMPLES - done), len(values)))].mean(1)
        for done in range(0, SAMPLES, each)
    ]
    return np.concatenate(means)
