"""Which value gives a wanted share: exact on a curve that is known, and as sure as it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit, logit

from dualsweep.analysis.wanted_share import value_for
from tests.margins import Sampled

#: The log-odds of the share are -3 - 40 v: 0.1 where v is -0.0201.
INTERCEPT, SLOPE = -3.0, -40.0
TRUTH = (float(logit(0.1)) - INTERCEPT) / SLOPE
VALUES = np.linspace(-0.04, 0.06, 12)


def test_shares_on_the_curve_give_its_value() -> None:
    found = value_for(0.1, VALUES, expit(INTERCEPT + SLOPE * VALUES), 10**9)
    assert found is not None and found.value == pytest.approx(TRUTH, rel=1e-4) and found.within
    assert found.low < found.value < found.high and found.high - found.low < 1e-4
    far = value_for(0.9, VALUES, expit(INTERCEPT + SLOPE * VALUES), 10**9)
    assert far is not None and far.value == pytest.approx((float(logit(0.9)) - INTERCEPT) / SLOPE, rel=1e-4) and not far.within


def test_the_interval_covers_as_often_as_it_says_also_where_trials_scatter_more_than_counts(sampled: Sampled) -> None:
    rng = np.random.default_rng(sampled.seed)
    for scatter, name in ((0.0, "binomial"), (0.3, "scattered")):
        covered = 0
        for _ in range(400):
            odds = INTERCEPT + SLOPE * VALUES + scatter * rng.standard_normal(len(VALUES))
            found = value_for(0.1, VALUES, rng.binomial(500, expit(odds)) / 500, 500)
            covered += found is not None and found.low <= TRUTH <= found.high
        sampled.at_least(f"covered, {name}", covered / 400, 0.89)


def test_shares_that_follow_nothing_tell_no_value() -> None:
    found = value_for(0.1, VALUES, np.tile([0.06, 0.08], 6), 500)
    assert found is not None and math.isnan(found.value)
    assert value_for(0.1, VALUES[:3], np.full(3, 0.1), 500) is None
    assert value_for(0.1, np.full(9, 0.02), np.full(9, 0.1), 500) is None


def test_none_and_all_of_the_samples_are_shares_too() -> None:
    for shares in (np.zeros(12), np.ones(12), (VALUES < 0.0).astype(float)):
        found = value_for(0.5, VALUES, shares, 50)
        assert found is not None and (math.isnan(found.value) or -0.02 < found.value < 0.02)
