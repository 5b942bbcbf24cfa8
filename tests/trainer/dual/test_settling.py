"""The error of a settled multiplier, on dual ascent whose answer is known: a quadratic, noisy slacks, a primal that lags."""

import json

import numpy as np
import pytest

from tests.margins import Sampled
from trainer.dual.controller import Controller
from trainer.dual.settling import settled_errors, settled_multipliers
from trainer.dual.state import BLOCKS, DualState, SlackReport
from trainer.problem import Problem
from trainer.recipe import Dual

PRICE, RUNS = 1.0, 800


def controller(steps, rate, runs=RUNS):
    """Each run is one constraint g <= 0 with g = lambda* - u + noise, in which the primal u follows lambda."""
    problem = Problem(tuple(f"c{i}" for i in range(runs)), np.zeros(runs), np.zeros(runs, dtype=bool))
    return Controller(problem, Dual(step_size=rate / steps), steps)


def report(step, values):
    means = np.concatenate([[0.0], values])
    return SlackReport(step, 0, np.ones(len(means)), means, means**2)


def ended(steps, rate, lag, noise=0.3, runs=RUNS, seed=0):
    """A run of `steps` dual steps of size `rate` / steps, so that it lasts `rate` relaxation times."""
    rng = np.random.default_rng(seed)
    ascent = controller(steps, rate, runs)
    state, primal = ascent.first(), np.zeros(runs)
    for step in range(steps):
        primal += lag * (state.multipliers - primal)
        state = ascent.advance(state, [report(step, PRICE - primal + noise * rng.standard_normal(runs))], 1)
    return state


@pytest.mark.parametrize("lag", [1.0, 0.2])
@pytest.mark.parametrize(
    "steps, rate, covered, widest",
    [
        (300, 30, 0.92, 1.6),
        (300, 10, 0.83, 1.4),
        (100, 10, 0.83, 1.4),
        (300, 4, 0.74, 1.6),
        (300, 1.5, 0.7, 1.4),
        (1000, 1.5, 0.85, 1.4),
    ],
)
def test_two_standard_errors_cover_the_price_as_often_as_documented(steps, rate, lag, covered, widest, sampled: Sampled):
    """Also where the multiplier is still on its way (1.5 relaxation times: on average a quarter is missing)."""
    state = ended(steps, rate, lag, seed=sampled.seed)
    off, errors = settled_multipliers(state) - PRICE, settled_errors(state)
    sampled.at_least("share covered", (np.abs(off) <= 2 * errors).mean(), covered)
    # And are no wider than needed.
    sampled.at_most("median error of the root mean square", np.median(errors) / np.sqrt((off**2).mean()), widest)


def test_without_noise_the_drift_that_is_left_is_extrapolated():
    """lambda_k = 1 - (1 - eta)^k exactly, and Aitken's extrapolation of a geometric sequence is exact but for the blocks' own."""
    state = ended(1000, 1.5, 1.0, noise=0.0, runs=2)
    missing = PRICE - settled_multipliers(state)
    assert missing[0] > 0.2
    np.testing.assert_allclose(settled_errors(state), missing, rtol=0.1)


def test_a_multiplier_that_stays_is_exact_and_too_few_steps_tell_nothing():
    held = Controller(Problem(("a",), np.array([5.0]), np.array([False])), Dual(step_size=0.1), 100)
    state = held.first()
    for step in range(100):
        state = held.advance(state, [report(step, np.zeros(1))], 1)
    assert settled_errors(state) == [0.0] and settled_multipliers(state) == [0.0]
    assert np.isnan(settled_errors(held.first())).all()
    assert np.isnan(settled_errors(ended(30, 3, 1.0, runs=2))).all()  # the last fifth has fewer steps than blocks
    assert np.isfinite(settled_errors(ended(5 * BLOCKS, 3, 1.0, runs=2))).all()


@pytest.mark.parametrize("stop", [70, 85, 93])
def test_it_survives_a_resume_bit_for_bit_and_older_checkpoints_load(stop):
    ascent = controller(100, 10, runs=3)
    rng = np.random.default_rng(1)
    reports = [report(step, rng.standard_normal(3)) for step in range(100)]
    state = ascent.first()
    for each in reports[:stop]:
        state = ascent.advance(state, [each], 1)
    saved = json.loads(json.dumps(state.to_json()))
    again = DualState.from_json(saved)
    for each in reports[stop:]:
        state, again = ascent.advance(state, [each], 1), ascent.advance(again, [each], 1)
    assert settled_errors(again).tobytes() == settled_errors(state).tobytes() and (settled_errors(state) > 0).all()
    for tail in saved["tails"]:
        del tail["counts"], tail["blocks"]
    older = DualState.from_json(saved)
    for each in reports[stop:]:
        older = ascent.advance(older, [each], 1)
    assert settled_multipliers(older).tobytes() == settled_multipliers(state).tobytes()
    if stop < 80:  # the last stretch came after it
        assert settled_errors(older).tobytes() == settled_errors(state).tobytes()
    else:
        assert np.isnan(settled_errors(older)).all()
