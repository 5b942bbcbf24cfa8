"""The error of a settled multiplier, on dual ascent whose answer is known: a quadratic, noisy slacks, a primal that lags."""

import json

import numpy as np
import pytest

from dualsweep.trainer.dual.controller import Controller
from dualsweep.trainer.dual.problem import ConstrainedProblem
from dualsweep.trainer.dual.settling import settled_errors, settled_multipliers
from dualsweep.trainer.dual.state import BLOCKS, DualState, SlackReport, pack, unpack
from dualsweep.trainer.recipe.dual import Dual
from tests.margins import Sampled
from tests.trainer.dual.oracles import alignment, play

PRICE, RUNS = 1.0, 200


def controller(steps, rate, runs=RUNS, **dual):
    """Each run is one constraint g <= 0 with g = lambda* - u + noise, in which the primal u follows lambda."""
    problem = ConstrainedProblem(tuple(f"c{i}" for i in range(runs)), np.zeros(runs), np.zeros(runs, dtype=bool))
    return Controller(problem, Dual(step_size=rate / steps, **dual), steps)


def report(step, values):
    means = np.concatenate([[0.0], values])
    return SlackReport(step, 0, np.ones(len(means)), means, means**2)


def ended(steps, rate, lag, noise=0.3, runs=RUNS, seed=0, price=PRICE, **dual):
    """A run of `steps` dual steps of size `rate` / steps, so that it lasts `rate` relaxation times; `runs` of them."""
    rng = np.random.default_rng(seed)
    ascent = controller(steps, rate, runs, **dual)
    state, primal = ascent.first(), np.zeros(runs)
    for step in range(steps):
        primal += lag * (state.multipliers - primal)
        state = ascent.advance(state, [report(step, price - primal + noise * rng.standard_normal(runs))], 1)
    return state


def ends(steps, rate, runs, lag=1.0, seed=0, **how):
    """Multipliers [runs] and their errors; at most `RUNS` share a controller, whose step costs their number's square."""
    parts = []
    for part in range(-(-runs // RUNS)):
        state = ended(steps, rate, lag, seed=[seed, part], **how)
        parts.append((settled_multipliers(state), settled_errors(state)))
    multipliers, errors = np.concatenate(parts, axis=1)
    return multipliers[:runs], errors[:runs]


def scatter(steps, rate, lag, runs, seed=0, price=PRICE, **how):
    """z [runs] and errors [runs]."""
    multipliers, errors = ends(steps, rate, runs, lag, seed, price=price, **how)
    return (multipliers - price) / errors, errors


def of_oracle(oracle, dual, steps, runs, samples=64, first=0):
    """z [runs, m] of whole runs on an exact oracle with sampled slacks; 0 of a multiplier that is exactly right."""
    deviations = []
    for seed in range(first, first + runs):
        last = play(oracle, dual, steps, samples=samples, seed=seed)[-1]
        off, errors = settled_multipliers(last) - oracle.solution, settled_errors(last, dual.rule)
        deviations.append(np.divide(off, errors, out=np.zeros_like(off), where=(off != 0) | (errors != 0)))
    return np.array(deviations)


@pytest.mark.parametrize("lag", [1.0, 0.2])
@pytest.mark.parametrize(
    ("steps", "rate", "most", "covered"), [(100, 10, 1.45, 0.87), (300, 30, 1.2, 0.92), (300, 100, 1.2, 0.93)]
)
def test_the_error_of_a_settled_multiplier_is_its_scatter_about_the_price(steps, rate, most, covered, lag, sampled: Sampled):
    """Batch means of the last fifth are too small by half at 10 relaxation times, and too large by a quarter at 100."""
    z, _ = scatter(steps, rate, lag, 1000 if rate == 30 else 400, sampled.seed)
    sampled.between("sd of z", z.std(), 0.78 if lag == 1 else 0.70, most)  # with a lag it oscillates at 100
    sampled.between("mean of z", z.mean(), -0.36, 0.36)
    sampled.at_least("share within two errors", (np.abs(z) <= 2).mean(), covered)


@pytest.mark.parametrize(("steps", "rate", "covered"), [(100, 4, 0.87), (200, 4, 0.86), (100, 1.5, 0.92), (200, 1.5, 0.95)])
def test_two_errors_cover_the_price_also_of_a_run_that_has_not_arrived(steps, rate, covered, sampled: Sampled):
    """At 1.5 relaxation times a quarter of the multiplier is missing on average."""
    z, errors = scatter(steps, rate, 1.0, 200, sampled.seed)
    sampled.at_least("share covered", (np.abs(z) <= 2).mean(), covered)
    # And are no wider than needed.
    sampled.at_most("median error of the root mean square", np.median(errors) / np.sqrt(((z * errors) ** 2).mean()), 2.4)


@pytest.mark.parametrize(
    "how",
    [{"rule": "nu_pi", "kappa_p": 0.3, "nu": 0.5}, {"average": 0.7}, {"decay": "linear"}],
    ids=["nu_pi", "average", "decay"],
)
def test_it_tells_of_other_rules_too(how, sampled: Sampled):
    z, _ = scatter(200, 20, 1.0, 400, sampled.seed, **how)
    sampled.at_least("share covered", (np.abs(z) <= 2).mean(), 0.82)


def test_newtons_shrinking_steps_do_not_hide_how_far_they_are(sampled: Sampled):
    """By their own movement, as of ascent, the errors are too small by half: sd of z 1.6."""
    z = of_oracle(alignment(2), Dual(rule="newton"), 100, 60, first=sampled.seed * 60)
    sampled.between("sd of z", z.std(), 0.7, 1.38)
    sampled.at_least("share within two errors", (np.abs(z) <= 2).mean(), 0.86)


def test_a_multiplier_that_noise_holds_above_a_price_of_0_is_within_two_errors_of_it_under_newton(sampled: Sampled):
    z = of_oracle(alignment(3), Dual(rule="newton"), 100, 30, samples=32, first=sampled.seed * 30)[:, 2]
    sampled.at_least("share within two errors", (np.abs(z) <= 2).mean(), 0.8)


def test_no_error_is_told_of_what_moves_by_the_secant_rule():
    last = play(alignment(2), Dual(rule="secant"), 60, samples=64)[-1]
    assert np.isnan(settled_errors(last, "secant")).all()


def test_the_targets_of_newton_survive_a_resume_and_are_unknown_in_an_older_checkpoint():
    oracle = alignment(2)
    states = play(oracle, Dual(rule="newton"), 100, samples=64)
    saved = json.loads(json.dumps(states[-1].to_json()))
    assert settled_errors(DualState.from_json(saved), "newton").tobytes() == settled_errors(states[-1], "newton").tobytes()
    for tail in saved["tails"]:
        del tail["targets"]
    assert np.isnan(settled_errors(DualState.from_json(saved), "newton")).all()


@pytest.mark.parametrize("price", [0.0, 0.05])
def test_two_errors_reach_a_price_that_projection_keeps_the_multiplier_above(price, sampled: Sampled):
    z, _ = scatter(200, 20, 1.0, 200, sampled.seed, price=price)
    sampled.at_least("share covered", (np.abs(z) <= 2).mean(), 0.88)


def test_without_noise_the_drift_that_is_left_is_extrapolated():
    """lambda_k = 1 - (1 - eta)^k exactly, which the fit finds to the spacing of its rates."""
    state = ended(1000, 1.5, 1.0, noise=0.0, runs=2)
    missing = PRICE - settled_multipliers(state)
    assert missing[0] > 0.2
    np.testing.assert_allclose(settled_errors(state), missing, rtol=0.1)


def test_a_multiplier_that_stays_is_exact_and_too_few_steps_tell_nothing():
    held = Controller(ConstrainedProblem(("a",), np.array([5.0]), np.array([False])), Dual(step_size=0.1), 100)
    state = held.first()
    for step in range(100):
        state = held.advance(state, [report(step, np.zeros(1))], 1)
    assert settled_errors(state) == [0.0] and settled_multipliers(state) == [0.0]
    assert np.isnan(settled_errors(held.first())).all()
    assert np.isnan(settled_errors(ended(5 * BLOCKS - 5, 3, 1.0, runs=2))).all()  # fifths have fewer steps than blocks
    assert np.isfinite(settled_errors(ended(5 * BLOCKS, 3, 1.0, runs=2))).all()


def stopped(after):
    """A controller of 100 dual steps, its state after so many of them, and the reports of the rest."""
    ascent, rng = controller(100, 10, runs=3), np.random.default_rng(1)
    reports = [report(step, rng.standard_normal(3)) for step in range(100)]
    state = ascent.first()
    for each in reports[:after]:
        state = ascent.advance(state, [each], 1)
    return ascent, state, reports[after:]


@pytest.mark.parametrize("stop", [30, 70, 93])
def test_it_survives_a_resume_bit_for_bit(stop):
    ascent, state, rest = stopped(stop)
    saved = json.loads(json.dumps(state.to_json()))
    again = DualState.from_json(saved)
    for each in rest:
        state, again = ascent.advance(state, [each], 1), ascent.advance(again, [each], 1)
    assert settled_errors(again).tobytes() == settled_errors(state).tobytes() and (settled_errors(state) > 0).all()


def older(saved, *, blocks):
    """A checkpoint of before: of the last two fifths, each in 8 blocks or in none."""
    saved = json.loads(json.dumps(saved))
    saved["tails"] = saved["tails"][-2:]
    for tail in saved["tails"]:
        del tail["zeros"]
        if not blocks:
            del tail["counts"], tail["blocks"]
            continue
        for name in ("counts", "blocks"):
            once = unpack(tail[name])
            tail[name] = pack(np.stack([once, np.zeros_like(once)], axis=1).reshape(2 * len(once), *once.shape[1:]))
    return saved


@pytest.mark.parametrize("stop", [30, 70, 93])
def test_older_checkpoints_load(stop):
    ascent, state, rest = stopped(stop)
    bare, blocked = (DualState.from_json(older(state.to_json(), blocks=blocks)) for blocks in (False, True))
    for each in rest:
        state, bare, blocked = (ascent.advance(one, [each], 1) for one in (state, bare, blocked))
    for one in (bare, blocked):
        assert settled_multipliers(one).tobytes() == settled_multipliers(state).tobytes()
    assert np.isfinite(settled_errors(blocked)).all()  # of the fifths it knows in full
    assert np.isfinite(settled_errors(bare)).all() == (stop < 60)
