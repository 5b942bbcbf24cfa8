"""Met, violated and undecided: as seldom wrong as promised, by the product's own estimators, and sooner than one fixed test."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from dualsweep.trainer.feasibility.deciding import after
from dualsweep.trainer.feasibility.stages import last_look, stages
from dualsweep.trainer.feasibility.standing import Slack, overall, score, standing_of
from tests.trainer.feasibility.simulation import decided, wrong
from tests.trainer.recipes import digits

ENDS = (256, 512, 1024, 2048)


@pytest.mark.parametrize("noise, seed", [("normal", 1), ("exponential", 2), ("minus exponential", 3), ("t5", 4)])
def test_at_the_edge_of_the_tolerance_it_is_seldom_wrongly_met_or_violated(noise: str, seed: int) -> None:
    """A small part of tests/benchmarks/coverage/feasibility.py; 0.085 is 5 sd of 1,000 runs above 0.05."""
    rates = wrong(noise, 1, ENDS, 1_000, seed)
    assert max(rates.values()) <= 0.085, rates
    assert min(rates["wrongly met, one"], rates["wrongly violated, one"]) >= 0.015, rates  # and no confidence is wasted


def test_as_many_draws_decide_more_trials_than_one_fixed_test() -> None:
    ours, draws, theirs = decided("normal", 3, ENDS, 400, 5)
    assert ENDS[0] < draws < ENDS[-1] and ours > theirs + 0.03


def test_the_score_of_a_skewed_mean_is_normal_where_the_studentised_mean_is_not() -> None:
    rng, n = np.random.default_rng(6), 60
    x = rng.standard_exponential((40_000, n)) - 1.0
    errors, third = x.std(1, ddof=1) / math.sqrt(n), ((x - x.mean(1, keepdims=True)) ** 3).mean(1) / n**2
    slacks = [Slack(*each) for each in zip(x.mean(1), errors, third / errors**3, np.full(len(x), n - 1.0), strict=True)]
    z = np.array([score(each.value, each) for each in slacks])
    plain = x.mean(1) / errors
    for side in (-1.0, 1.0):
        assert abs(float((side * z > 1.645).mean()) - 0.05) < 0.4 * abs(float((side * plain > 1.645).mean()) - 0.05)


def test_few_units_count_as_students_t() -> None:
    for degrees in (4.0, 20.0):
        for t in (-3.0, 1.0, 2.5):
            wanted = stats.norm.ppf(stats.t.cdf(t, degrees))
            assert score(t, Slack(t, 1.0, degrees=degrees)) == pytest.approx(wanted, abs=0.02)


def test_edges_and_what_is_not_known() -> None:
    assert standing_of(Slack(-0.1, 0.0), "at_most", 0.1) == "met" and standing_of(Slack(-0.2, 0.0), "at_most", 0.1) == "violated"
    assert standing_of(Slack(1.0, math.nan), "at_most", 0.1) == "undecided"
    assert (
        standing_of(Slack(0.3, 0.1), "equals", 0.0) == "violated" and standing_of(Slack(0.0, 0.1), "equals", 0.0) == "undecided"
    )


def test_all_constraints_together_are_as_the_worst_of_them_and_a_later_look_never_takes_back() -> None:
    assert overall([]) == "met" and overall(["met", "undecided"]) == "undecided"
    assert overall(["met", "undecided", "violated"]) == "violated"
    assert after("met", "undecided") == "met" and after("met", "violated") == "violated" and after("undecided", "met") == "met"


def test_the_recipe_alone_says_how_many_are_drawn_at_most() -> None:
    def ends(**sections: Any) -> tuple[int, ...]:
        each = {"train": {"steps": 400, "batch_size": 64}, "evaluation": {"loss_draws": 1000}} | sections
        return stages(digits(**each))

    assert (ends()[0], ends()[-1]) == (1000, 12_800)  # to 1.5 x 400 x 64, over the 3 values
    assert all(1.5 <= b / a <= 3 for a, b in zip(ends(), ends()[1:], strict=False))
    assert ends(feasibility={"draws": 30_000})[-1] == 10_000 and ends(feasibility={"draws": 1}) == (1000,)
    assert ends(evaluation={"loss_draws": 10_000}) == (10_000,) and ends(constraints=[]) == (1000,)
    held_out = ends(data={"source": "digits", "holdout": 0.2}, feasibility={"on": "held_out"})
    assert held_out[-1] == 6_400


def test_the_points_of_an_amortised_front_have_one_look() -> None:
    plain, spread = (digits(train={"steps": 400}, **each) for each in ({}, {"amortised": {"points": 3}}))
    assert last_look(plain) == stages(plain)[-1] > last_look(spread) == spread.evaluation.loss_draws
