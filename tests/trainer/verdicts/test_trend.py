"""Errors of means and slopes hold what they promise, on white and on correlated noise."""

from __future__ import annotations

import numpy as np
import pytest

from dualsweep.trainer.verdicts.trend import linearity, mean, slope
from tests.margins import Sampled
from tests.trainer.verdicts.test_oscillation import autoregression


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.7])
def test_two_standard_errors_hold_the_truth_about_nineteen_times_in_twenty(phi: float, sampled: Sampled) -> None:
    means, slopes, times = [], [], np.arange(100.0)
    for seed in sampled.seeds(1600):
        series = autoregression(phi, 100, seed)
        found, rise = mean(series), slope(times, series + 0.5 * times)
        means.append(abs(found.value) < 2 * found.error)
        slopes.append(abs(rise.value - 0.5) < 2 * rise.error)
    sampled.between("share of means", np.mean(means), 0.88, 0.99)
    sampled.between("share of slopes", np.mean(slopes), 0.88, 0.99)


def test_they_are_those_of_numpy_without_correlation() -> None:
    series = np.array([1.0, -1, 2, -2, 1, -1, 0.5, -0.5])
    assert mean(series).error == pytest.approx(series.std(ddof=1) / np.sqrt(8))
    fitted, covariance = np.polyfit(np.arange(8.0), series, 1, cov=True)
    found = slope(np.arange(8.0), series)
    assert found.value == pytest.approx(fitted[0]) and found.error == pytest.approx(np.sqrt(covariance[0, 0]))


def test_nan_is_left_out_and_too_little_says_nothing() -> None:
    series = np.array([1.0, np.nan, 2, 4, 1, np.nan, 3])
    assert mean(series).value == np.nanmean(series) and np.isfinite(slope(np.arange(7.0), series).error)
    assert np.isnan(mean(np.array([np.nan])).value) and not mean(np.array([1.0])).above(2)
    assert np.isnan(slope(np.arange(3.0), np.ones(3)).value)


def test_linearity_is_one_on_a_line() -> None:
    times = np.arange(20.0)
    assert linearity(times, 3 - 2 * times) == pytest.approx(1) and linearity(times, np.sin(times)) < 0.1
    assert np.isnan(linearity(times, np.ones(20)))
