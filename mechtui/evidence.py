"""What many numbers say together: their mean, how sure it is, and how many of them agree with its sign."""

from __future__ import annotations

import math
from functools import lru_cache

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


class Spread(msgspec.Struct, frozen=True, eq=False):
    """The same of every cell of a table [...]: n int32, the others float32, NaN where a `Summary` has NaN."""

    n: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    sd: np.ndarray
    share: np.ndarray

    def at(self, cell: tuple[int, ...]) -> Summary:
        numbers = (float(table[cell]) for table in (self.mean, self.low, self.high, self.sd, self.share))
        return Summary(int(self.n[cell]), *numbers)


def spread(values: np.ndarray) -> Spread:
    """What [number, ...] says of each cell, of its numbers that are finite."""
    shape = values.shape[1:]
    flat = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    finite = np.isfinite(flat)
    found = np.full((5, flat.shape[1]), np.nan)
    # Cells that have their numbers in the same places share the samples that are drawn.
    patterns, which = np.unique(finite, axis=1, return_inverse=True)
    for pattern in range(patterns.shape[1]):
        for cells in _split(np.flatnonzero(which.ravel() == pattern)):
            found[:, cells] = _spread(flat[np.ix_(patterns[:, pattern], cells)])
    mean, low, high, sd, share = (table.reshape(shape).astype(np.float32) for table in found)
    return Spread(finite.sum(0).reshape(shape).astype(np.int32), mean, low, high, sd, share)


def _split(cells: np.ndarray) -> list[np.ndarray]:
    """So many at a time that their samples take no more than 8 MB."""
    return np.array_split(cells, max(1, -(-len(cells) * SAMPLES // AT_ONCE))) if len(cells) else []


def _spread(known: np.ndarray) -> np.ndarray:
    """[5, cell]: mean, low, high, sd, share of [number, cell], all of them finite."""
    found = np.full((5, known.shape[1]), np.nan)
    count = len(known)
    if not count:
        return found
    found[0] = mean = known.mean(0)
    found[4] = (np.sign(known) == np.sign(mean)).mean(0)
    if count > 1:
        found[1:3] = np.quantile(_drawn(count) @ known / count, ((1 - SHARE) / 2, (1 + SHARE) / 2), axis=0)
        found[3] = known.std(0, ddof=1)
    return found


@lru_cache(2)
def _drawn(count: int) -> np.ndarray:
    """[SAMPLES, count]: how often each sample of `bootstrap` has each of so many numbers."""
    rng = np.random.default_rng(SEED)
    each = max(1, AT_ONCE // count)
    drawn = [rng.integers(0, count, (min(each, SAMPLES - done), count)) for done in range(0, SAMPLES, each)]
    times = np.stack([np.bincount(sample, minlength=count) for part in drawn for sample in part])
    return times.astype(np.float64)


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
