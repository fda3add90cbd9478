"""Means and their intervals, against numpy and a closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mechtui.evidence import Summary, summary


def test_the_interval_is_numpys_percentiles_of_resampled_means() -> None:
    values = np.random.default_rng(7).normal(1.5, 2.0, 64)
    said = summary(np.append(values, np.nan))
    drawn = np.random.default_rng(0).choice(values, (2000, 64)).mean(1)
    assert (said.low, said.high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=1e-12)
    assert (said.n, said.mean, said.sd) == (64, pytest.approx(values.mean()), pytest.approx(values.std(ddof=1)))
    assert said.share == pytest.approx((values > 0).mean())
    # For a mean of many independent numbers it is about 1.96 standard errors wide to either side.
    assert (said.high - said.low) / 2 == pytest.approx(1.96 * values.std(ddof=1) / 8, rel=0.1)


def test_many_numbers_are_drawn_in_parts() -> None:
    values = np.random.default_rng(1).normal(0, 1, 900)
    drawn = np.random.default_rng(0).choice(values, (2000, 900)).mean(1)
    said = summary(values)
    assert (said.low, said.high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=1e-12)


def test_few_numbers_say_little() -> None:
    assert summary(np.array([np.nan])).n == 0
    one = summary(np.array([-2.0]))
    assert (one.n, one.mean, one.share) == (1, -2.0, 1.0)
    assert math.isnan(one.low)
    assert math.isnan(one.sd)
    assert summary(np.array([1.0, 1.0])) == Summary(2, 1.0, 1.0, 1.0, 0.0, 1.0)
