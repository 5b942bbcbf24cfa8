"""The pole and the factor against dynamics with a known critical step size; noise must not be called an oscillation."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
from scipy.signal import lfilter

from dualsweep.trainer.verdicts.oscillation import excess, oscillation, pole
from tests.margins import Sampled
from tests.trainer.verdicts.dynamics import EVERY, Dynamics, tail

RUNS = 150


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("factor", [1.5, 2, 4, 7])
def test_the_factor_of_the_models_own_pole_is_exact(rate: float, factor: float) -> None:
    step_size = factor * rate / 4
    z = max(np.roots([1, rate - 2, 1 - rate + step_size * rate]), key=lambda root: root.imag)
    assert excess(complex(z)) == pytest.approx(factor)


def test_the_factor_is_the_logarithmic_decrement_of_mechanics_for_small_steps() -> None:
    damping, frequency = 1e-4, 3e-4
    assert excess(cmath.exp(complex(-damping, frequency))) == pytest.approx(1 + (frequency / damping) ** 2, rel=1e-3)


def test_a_swing_without_noise_gives_its_pole_to_the_last_digits_also_with_a_trend() -> None:
    z = 0.97 * cmath.exp(0.3j)
    k = np.arange(60, dtype=np.float64)
    series = 2 + 0.01 * k + (z**k).real + 0.5 * (z**k).imag
    assert abs(pole(series) - z) < 1e-8
    assert pole(0.9**k).imag == 0 and pole(0.9**k).real == pytest.approx(0.9)


def test_an_autoregression_gives_its_poles_and_a_moving_average_part_does_not_bias_them(sampled: Sampled) -> None:
    """ARMA(2, 1): least squares on it is off by 0.1 and more, however long the series."""
    z, poles = 0.9 * cmath.exp(0.4j), []
    for seed in sampled.seeds(10):
        noise = np.random.default_rng(seed).standard_normal(20_000)
        poles.append(pole(lfilter([1, -0.8], [1, -2 * z.real, abs(z) ** 2], noise)))
    sampled.near("pole", [np.mean(poles).real, np.mean(poles).imag], [z.real, z.imag], abs=0.01)


@pytest.mark.parametrize("factor", [4, 8, 16])
@pytest.mark.parametrize("case", [Dynamics(), Dynamics(delay=1), Dynamics(rate=0.2)], ids=["plain", "stale", "fast"])
def test_too_large_a_step_size_is_seen_and_by_how_much(case: Dynamics, factor: float, sampled: Sampled) -> None:
    oscillations = [
        oscillation(tail(case.run(factor * case.critical, 1500, seed)), EVERY)
        for seed in sampled.seeds(800 if factor == 4 else 400)
    ]
    seen = [each for each in oscillations if each is not None]
    sampled.at_least("share that is seen", len(seen) / len(oscillations), {4: 0.15, 8: 0.75, 16: 0.8}[int(factor)])
    near = (0.65, 1.45) if case.delay == 0 and factor > 4 else (0.5, 2.0)
    method = (
        "noise damps what is seen: 28 % low where the slack is fast, up to 50 % high where only the strongest swings are seen"
    )
    sampled.between("median excess, of the true one", np.median([each.excess for each in seen]) / factor, *near, method=method)
    # |z|^2 = 1 - rate + step x rate, and z + z* = 2 - rate: the angle of z is the frequency.
    if case.delay == 0:
        modulus = math.sqrt(1 - case.rate + factor * case.rate**2 / 4)
        period = 2 * math.pi / math.acos((1 - case.rate / 2) / modulus)
        sampled.near("median period", np.median([each.period for each in seen]), period, rel=0.2)


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_the_pole_of_a_noisy_run_tells_the_factor_whether_it_is_called_or_not(factor: float, sampled: Sampled) -> None:
    case = Dynamics()
    seeds = sampled.seeds(2 * RUNS if factor == 2 else RUNS)
    poles = [pole(tail(case.run(factor * case.critical, 3000, seed))) for seed in seeds]
    factors = [excess(z ** (1 / EVERY)) if z.imag > 0 else 1.0 for z in poles]
    sampled.between("median factor, of the true one", np.median(factors) / factor, 1 / 1.5, 1.5)


@pytest.mark.parametrize("factor", [1, 2])
def test_a_step_size_up_to_twice_the_critical_is_not_called_too_large(factor: float, sampled: Sampled) -> None:
    case = Dynamics()
    called = [oscillation(tail(case.run(factor * case.critical, 1500, seed)), EVERY) is not None for seed in sampled.seeds(RUNS)]
    sampled.at_most("share that is called", np.mean(called), 0.05)


def test_the_suggested_step_size_ends_the_oscillation(sampled: Sampled) -> None:
    case, ended = Dynamics(), []
    for seed in sampled.seeds(RUNS):
        swing = oscillation(tail(case.run(16 * case.critical, 1500, seed)), EVERY)
        if swing is not None:
            ended.append(oscillation(tail(case.run(16 * case.critical / swing.excess, 1500, seed)), EVERY) is None)
    sampled.at_least("share that is seen", len(ended) / RUNS, 0.8)
    sampled.at_least("share that is ended", np.mean(ended), 0.9)


def test_multipliers_cut_off_at_zero_swing_on_and_the_factor_is_a_lower_bound() -> None:
    case = Dynamics(rate=0.02, noise=0.05)
    found = oscillation(tail(case.run(300 * case.critical, 3000)), EVERY)  # beyond stability, at 4 / rate = 200 times
    assert found is not None and 10 < found.excess <= 20


def autoregression(phi: float, length: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(length + 200)
    return np.asarray(lfilter([1.0], [1.0, -phi], noise))[200:]


@pytest.mark.parametrize("length", [40, 90, 180])
@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9, 0.97, 1.0])
def test_noise_is_called_an_oscillation_in_less_than_one_series_in_twenty(phi: float, length: int, sampled: Sampled) -> None:
    series = 400 if length > 40 else {0.0: 2400, 0.5: 6400}.get(phi, 800)  # as near as the share comes to the bound
    called = [oscillation(autoregression(phi, length, seed), EVERY) is not None for seed in sampled.seeds(series)]
    sampled.at_most("share that is called", np.mean(called), 0.05)


@pytest.mark.parametrize("length", [40, 90, 180])
def test_critical_damping_is_called_an_oscillation_in_less_than_one_run_in_twenty(length: int, sampled: Sampled) -> None:
    case = Dynamics()
    runs = [case.run(case.critical, 500 + EVERY * length, seed)["multiplier/c"][-length:] for seed in sampled.seeds(200)]
    called = [oscillation(np.array([value for _, value in run]), EVERY) is not None for run in runs]
    sampled.at_most("share that is called", np.mean(called), 0.05)


def test_small_swings_short_series_and_constants_are_left_alone() -> None:
    wave = np.sin(np.arange(120) * 2 * math.pi / 12)
    assert oscillation(1 + wave, EVERY) is not None
    assert oscillation(30 + wave, EVERY) is None, "2 % of the multiplier"
    assert oscillation(0.005 * (1 + wave), EVERY) is None, "0.4 % of the objective's weight"
    assert oscillation((1 + wave)[:19], EVERY) is None
    assert oscillation(np.ones(100), EVERY) is None and oscillation(np.zeros(0), EVERY) is None
