"""Shadow prices on problems whose prices are known: exact trials agree everywhere, multipliers that are off are told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dualsweep.analysis.front import find_front
from dualsweep.analysis.prices.attained import Attained
from dualsweep.analysis.prices.budgets import round_step
from dualsweep.analysis.prices.shadow import Prices, Pricing, shadow_prices
from dualsweep.analysis.prices.slopes import CHANCE, local_slope
from dualsweep.analysis.trials import SweepRecord
from dualsweep.trainer.result import UNTOLD
from tests.analysis.certified.problems import problem
from tests.analysis.prices.sweeps import record_of, spread, with_prices_off
from tests.margins import Sampled


def priced(record: SweepRecord) -> Prices:
    return Pricing(record).of(record.trials)


@pytest.mark.parametrize("name", ["A1", "A3", "B3", "C2"])
def test_exact_trials_agree_everywhere(name: str) -> None:
    case = problem(name)
    found = case.observe(spread(case, 8), 0.0, np.random.default_rng(0))
    prices = priced(record_of(found))
    assert len(prices.prices) == 8 * case.size and not prices.unconverged and not prices.troubles
    assert prices.summary() == "The multipliers agree with the other trials' values at each of the 8 priced points."
    for price in prices.prices:
        assert price.low - 1e-5 <= price.price <= price.high + 1e-5
    assert any(np.isfinite(price.high) and price.low > 0 for price in prices.prices)


def test_of_one_budget_the_range_is_that_of_the_chords() -> None:
    """f = b^2 at b = -2, -1, 0: the slopes of its chords are -3 and -1, and the ends are open on one side."""
    case = problem("A1")
    found = case.observe(np.array([[-2.0], [-1.0], [0.0]]), 0.0, np.random.default_rng(0))
    ranges = [(p.low, p.high) for p in priced(record_of(found)).prices]  # f = b^2 / 2
    np.testing.assert_allclose(ranges, [(1.5, np.inf), (0.5, 1.5), (0.0, 0.5)], atol=1e-6)


@pytest.mark.parametrize("scale", [1e-12, 1e-8, 1.0, 1e8])
@pytest.mark.parametrize("of", ["objective", "values"])
def test_the_range_is_the_same_on_any_scale(of: str, scale: float) -> None:
    """Prices are in the objective's unit a unit of the value, and the tight end's are open above."""
    case = problem("A1")
    trials = case.observe(np.array([[-2.0], [-1.0], [0.0]]), 0.0, np.random.default_rng(0))
    high = scale if of == "objective" else 1.0
    wide = scale if of == "values" else 1.0
    scaled = replace(
        trials, objective=trials.objective * high, values=trials.values * wide, asked=trials.asked * wide,
        multipliers=trials.multipliers * high / wide,
    )  # fmt: skip
    prices = priced(record_of(scaled))
    ranges = np.array([(p.low, p.high) for p in prices.prices]) * wide / high
    np.testing.assert_allclose(ranges, [(1.5, np.inf), (0.5, 1.5), (0.0, 0.5)], atol=1e-6)
    assert not prices.unconverged


@pytest.mark.parametrize(("name", "least"), [("A1", 0.8), ("A2", 0.6), ("C2", 0.6)])
@pytest.mark.parametrize("factor", [0.6, 1.4])
def test_multipliers_off_by_40_percent_are_told(name: str, factor: float, least: float) -> None:
    """But for those at the box's ends, whose range is open, and where neighbours are far."""
    case = problem(name)
    found = case.observe(spread(case, 16), 0.0, np.random.default_rng(0))
    prices = priced(record_of(with_prices_off(found, factor)))
    assert len(prices.unconverged) + len(set(prices.troubles) - set(prices.unconverged)) >= least * 16


def test_noise_alone_is_flagged_no_more_often_than_stated(sampled: Sampled) -> None:
    flagged = total = 0
    for name in ("A1", "A2"):
        case = problem(name)
        for seed in sampled.seeds(8):
            found = case.observe(spread(case, 16, seed), 0.03, np.random.default_rng(seed))
            prices = priced(record_of(found))
            flagged, total = flagged + len(prices.unconverged), total + 16
    sampled.at_most("share flagged", flagged / total, 2 * CHANCE)  # of 256 trials, which tell a share of 1 % to 0.6
    off = case.observe(spread(case, 16), 0.03, np.random.default_rng(sampled.seed))
    seen = len(priced(record_of(with_prices_off(off, 0.5))).unconverged)
    sampled.at_least("flagged of 16 that are off", seen, 8)  # what is off is seen through the noise


def test_the_trouble_is_the_certificate_of_the_band() -> None:
    """Without errors a trial is in trouble exactly where another one lies below its plane (`Observations.excess`)."""
    case = problem("A3")
    observations = with_prices_off(case.observe(spread(case, 16), 0.0, np.random.default_rng(0)), 1.3)
    prices = priced(record_of(observations))
    assert [f"{j:04d}" in prices.troubles for j in range(16)] == list(observations.excess > 1e-5 * np.ptp(observations.objective))
    assert "at its own multipliers, trial" in next(iter(prices.troubles.values()))


def test_signs_of_the_user_change_no_price() -> None:
    """A maximised objective and at_least constraints are the same problem told in other signs."""
    case = problem("A2")
    observations = case.observe(spread(case, 8), 0.0, np.random.default_rng(0))
    one = priced(record_of(observations))
    other = priced(record_of(observations, ("at_least", "at_least"), maximizes=True))
    for a, b in zip(one.prices, other.prices, strict=True):
        np.testing.assert_allclose((a.price, a.low, a.high, a.slope), (b.price, b.low, b.high, b.slope))
        assert a.sentence == b.sentence


def test_an_equality_has_a_price_of_either_sign() -> None:
    """f = (v - 1)^2 / 2 under v = c: lambda = 1 - c. Within errors too, which widen the range on both sides."""
    case = problem("A1")
    asked = np.array([[0.0], [0.5], [1.5], [2.0]])
    base = case.observe(np.zeros((4, 1)), 0.0, np.random.default_rng(0))
    signed = replace(
        base, asked=asked, values=asked, objective=(asked[:, 0] - 1) ** 2 / 2, multipliers=1 - asked, signed=np.array([True])
    )
    prices = priced(record_of(signed, ("equals",)))
    assert not prices.unconverged
    np.testing.assert_allclose([(p.low, p.high) for p in prices.prices[1:3]], [(0.0, 0.75), (-0.75, 0.0)], atol=1e-6)
    assert prices.prices[1].sentence == "Raising `a` by 0.1 buys 0.05 of the objective."
    assert prices.prices[2].sentence == "Lowering `a` by 0.1 buys 0.05 of the objective."
    assert len(priced(record_of(with_prices_off(signed, -1.0), ("equals",))).unconverged) == 4


def test_constraints_that_share_a_budget_have_one_price_their_sum() -> None:
    case = problem("A3")
    observations = case.observe(spread(case, 8), 0.0, np.random.default_rng(0))
    prices = priced(record_of(observations, params=["constraints.*.at_most"]))
    assert len(prices.prices) == 8 and not prices.unconverged
    np.testing.assert_allclose([p.price for p in prices.prices], observations.multipliers.sum(axis=1))
    assert "Loosening `a`, `b` and `c` together by 0.1 buys" in prices.prices[0].sentence


def test_the_sentence_has_the_gain_and_its_interval() -> None:
    case = problem("A1")
    observations = case.observe(np.array([[-2.0], [-1.0], [-0.01]]), 0.0, np.random.default_rng(0))
    observations = replace(observations, multiplier_errors=np.array([[0.1], [0.05], [0.02]]))
    prices = priced(record_of(observations)).prices
    assert prices[1].step == 0.1 and prices[1].gain == pytest.approx(0.1)
    assert prices[1].sentence == "Loosening `a` by 0.1 buys 0.1 of the objective (0.09 to 0.11)."
    assert "nothing that can be told from noise (at most 0.005 of" in prices[2].sentence
    off = priced(record_of(with_prices_off(observations, 2.0))).prices[1]
    assert off.sentence == (
        "The price of `a` has not converged: the multiplier says 2 ± 0.1, the other trials' values 0.505 to 1.5."
    )


def test_a_price_beside_room_is_told() -> None:
    """Complementary slackness: a trial that keeps a multiplier though a quarter of the box is left."""
    case = problem("A1")
    found = case.observe(np.array([[-2.0], [-1.0], [-0.5]]), 0.0, np.random.default_rng(0))
    roomy = replace(found, asked=np.array([[-2.0], [-0.5], [-0.5]]))
    prices = priced(record_of(roomy))
    assert [price.verdict for price in prices.prices] == ["agrees", "slack", "agrees"]
    assert "beside room that is left (`a` 0.5)" in prices.prices[1].sentence
    free = replace(roomy, multipliers=np.array([[2.0], [0.0], [0.5]]))
    assert priced(record_of(free)).prices[1].verdict != "slack"


def test_a_trial_that_another_beats_has_no_price_at_all() -> None:
    case = problem("A1")
    found = case.observe(np.array([[-2.0], [-1.0], [-0.5], [-0.1]]), 0.0, np.random.default_rng(0))
    worse = replace(found, objective=found.objective + np.array([0.0, 1.0, 0.0, 0.0]))
    prices = priced(record_of(worse))
    assert np.isnan(prices.prices[1].low) and "no price fits" in prices.prices[1].sentence
    assert "at any multipliers some trial is better by" in prices.troubles["0001"]


def test_only_the_front_is_priced_and_what_has_no_numbers_is_left_out() -> None:
    case = problem("A1")
    record = record_of(case.observe(spread(case, 8), 0.0, np.random.default_rng(0)))
    broken = replace(record.trials[0], status="failed", standing=None)
    without = replace(record, trials=(broken, *record.trials[1:]))
    prices = shadow_prices(without, find_front(without))
    assert [p.trial_id for p in prices.prices] == list(find_front(without).ids) and "0000" not in find_front(without).ids
    assert len(Attained.of(without).trials) == 7
    minimax = tuple(replace(t, constraints=tuple(replace(o, kind="minimax") for o in t.constraints)) for t in record.trials)
    assert priced(replace(record, trials=minimax)).prices == ()
    assert priced(replace(record, trials=())).prices == ()


@pytest.mark.parametrize(("size", "step"), [(0.0085, 0.01), (0.1, 0.1), (3.0, 2.0), (4.0, 5.0), (0.00012, 0.0001)])
def test_steps_are_round(size: float, step: float) -> None:
    assert round_step(size) == pytest.approx(step)


def test_a_budget_that_does_not_differ_has_no_price() -> None:
    """Only the multiplier would say it, and only noise the step: "by 1e-06 buys 3.6e-08"."""
    case = problem("A2")
    exact = case.observe(spread(case, 8), 0.0, np.random.default_rng(0))
    fixed = replace(exact, asked=np.tile(exact.asked[:1], (8, 1)))
    prices = priced(record_of(fixed))
    assert prices.prices == () and not prices.troubles
    assert prices.summary().startswith("Budgets are not priced: none differs from trial to trial")
    one = replace(exact, asked=np.column_stack([exact.asked[:, 0], np.full(8, 0.5)]))
    assert {price.budget.constraints for price in priced(record_of(one)).prices} == {("a",)}


def test_a_trial_with_too_few_dual_steps_has_no_price() -> None:
    case = problem("A1")
    record = record_of(case.observe(spread(case, 8), 0.0, np.random.default_rng(0)))
    short = [replace(trial, reason=f"all steps used; {UNTOLD}") for trial in record.trials]
    prices = priced(replace(record, trials=(*short[:3], *record.trials[3:])))
    assert {price.trial_id for price in prices.prices} == {f"{j:04d}" for j in range(3, 8)}
    none = priced(replace(record, trials=tuple(short)))
    assert none.prices == () and "dual steps were too few" in none.summary()


def test_beside_a_trial_far_off_no_slope_is_told() -> None:
    """A constraint's value of 1e12 leaves the others no weight: the equations for the slope are singular."""
    values = np.array([[1e12], [-0.218], [-0.254], [0.4], [1.0]])
    case = problem("A1")
    record = record_of(case.observe(np.linspace(case.tight, case.loose, 5), 0.0, np.random.default_rng(0)))
    attained = replace(
        Attained.of(record), objective=np.array([-0.896, 0.5, -0.972, 0.0, 0.524]), values=values,
        objective_error=np.array([0.0, 0.0051, 0.0, 0.0, 0.0051]), value_errors=np.array([[0.1], [0.1], [0.1], [0.001], [0.1]]),
    )  # fmt: skip
    assert np.isnan(local_slope(attained, 2, np.ones(1))).all()
