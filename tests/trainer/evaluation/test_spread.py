"""Variances and third moments of means, told by one run's draws, against closed forms and their scatter over many runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from dualsweep.trainer.evaluation.drawn import JointDraws, drawn_values
from dualsweep.trainer.evaluation.scale import Scale
from dualsweep.trainer.evaluation.spread import BIN, _maker, mean_spread
from tests.margins import Sampled

RUNS = 600
#: The scatter of so many runs is known to 1 / sqrt(2 RUNS): four times that, and what the estimate of a variance is too high.
WITHIN = 0.18
Draw = Callable[[np.random.Generator], JointDraws]


def told(draw: Draw, rows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Means [runs, q] of the combinations, and the covariances [runs, q, q] that each run tells of its own."""
    rng = np.random.default_rng(seed)
    moments = [drawn_values(rows.shape[1], [draw(rng)]).moments(rows) for _ in range(RUNS)]
    return np.array([each.mean for each in moments]), np.array([each.covariance for each in moments])


def ratio(draw: Draw, seed: int) -> float:
    """The root of the mean variance that runs tell, over the scatter of their means."""
    means, covariances = told(draw, np.eye(1), seed)
    return float(np.sqrt(covariances[:, 0, 0].mean()) / means[:, 0].std())


def trend(place: np.ndarray) -> np.ndarray:
    """Steep at one end, as losses by timestep are."""
    return 1.0 / (0.05 + place)


def stratified(rng: np.random.Generator, n: int, noise: float = 1.0) -> np.ndarray:
    return trend((np.arange(n) + rng.random(n)) / n) + noise * rng.standard_normal(n)


def test_a_stratified_mean(sampled: Sampled) -> None:
    def draw(rng: np.random.Generator) -> JointDraws:
        return JointDraws((0,), stratified(rng, 200)[:, None], (200,), stratified=True)

    sampled.near("told / scatter", ratio(draw, sampled.seed), 1.0, abs=WITHIN)


def test_stages_are_strata_of_their_own(sampled: Sampled) -> None:
    def draw(rng: np.random.Generator) -> JointDraws:
        return JointDraws((0,), np.concatenate([stratified(rng, 100), stratified(rng, 60)])[:, None], (100, 60), stratified=True)

    sampled.near("told / scatter", ratio(draw, sampled.seed), 1.0, abs=WITHIN)


@pytest.mark.parametrize("draws", [2000, 8000])
def test_of_draws_of_few_units_the_part_that_more_draws_would_leave_is_that_of_the_units(draws: int, sampled: Sampled) -> None:
    """400 levels of deviation 1, and noise of deviation 1 on each draw: the variance is 1 / 400 + 1 / draws."""
    rng = np.random.default_rng(sampled.seed)
    units = np.arange(draws) % 400
    values = rng.standard_normal(400)[units] + rng.standard_normal(draws)
    found = JointDraws((0,), values[:, None], (draws,), units=units).spread(np.eye(1))
    sampled.near("lasting variance", 400 * found.lasting[0], 1.0, abs=0.4)
    sampled.near("all of it", found.covariance[0, 0] / (1 / 400 + 1 / draws), 1.0, abs=0.4)
    assert JointDraws((0,), values[:500, None], (500,), units=units[:500]).spread(np.eye(1)).lasting == [0.0]


@pytest.mark.parametrize(("units", "draws"), [(40, 160), (40, 25), (300, 900)])
def test_draws_of_one_unit_count_as_its_own(units: int, draws: int, sampled: Sampled) -> None:
    """An image's own level and its noise at each draw, over a trend that the strata take out."""

    def draw(rng: np.random.Generator) -> JointDraws:
        level = 2.0 * rng.standard_normal(units)
        turn = np.concatenate([rng.permutation(units) for _ in range(-(-draws // units))])[:draws]
        return JointDraws((0,), (level[turn] + stratified(rng, draws))[:, None], (draws,), stratified=True, units=turn)

    sampled.near("told / scatter", ratio(draw, sampled.seed), 1.0, abs=WITHIN)


def test_groups_that_are_drawn_equally_often_do_not_scatter(sampled: Sampled) -> None:
    def draw(rng: np.random.Generator) -> JointDraws:
        group = np.arange(90) % 3
        return JointDraws((0,), (10.0 * group + rng.standard_normal(90))[:, None], (90,), groups=group)

    sampled.near("told / scatter", ratio(draw, sampled.seed), 1.0, abs=WITHIN)


@pytest.mark.parametrize("draws", [40, 60, 90, 119, 130, 240])
def test_the_error_of_a_mean_over_prompts_of_which_each_has_few_draws_or_none(draws: int, sampled: Sampled) -> None:
    """Of 60 prompts, whose means scatter six times as far as samples of one do; only those drawn once are taken together."""

    def draw(rng: np.random.Generator) -> JointDraws:
        level, group = 6.0 * rng.standard_normal(60), np.arange(draws) % 60
        return JointDraws((0,), ((level - level.mean())[group] + rng.standard_normal(draws))[:, None], (draws,), groups=group)

    often = np.bincount(np.arange(draws) % 60)
    true = (1 / often).sum() / len(often) ** 2 + max(0.0, 36 * (1 / draws - 1 / 60))
    between = 36 * 5 / 119**2 if draws == 119 else 36 * (often == 1).sum() / len(often) ** 2  # one alone joins two
    told = (1 / often).sum() / len(often) ** 2 + between
    sampled.near("told / scatter", ratio(draw, sampled.seed), np.sqrt(told / true), rel=WITHIN)


@pytest.mark.parametrize("draws", [45, 90, 256])
def test_the_mean_over_some_prompts_is_that_of_their_own_draws(draws: int, sampled: Sampled) -> None:
    """Twenty of 60 prompts, whose mean is 5 where that of the others is 9; in 45 draws there are 15 of them."""
    group, asked = np.arange(draws) * 37 % 60, np.arange(60) % 3 == 0
    factors = np.where(asked, 3.0, 0.0)[group][:, None]

    def draw(rng: np.random.Generator) -> JointDraws:
        level = rng.standard_normal(60)
        level += np.where(asked, 5.0 - level[asked].mean(), 9.0)
        values = factors * (level[group] + rng.standard_normal(draws))[:, None]
        return JointDraws((0,), values, (draws,), groups=group, factors=factors)

    means, covariances = told(draw, np.eye(1), sampled.seed)
    often = np.bincount(group, minlength=60)[asked]
    true = (1 / often[often > 0]).sum() / (often > 0).sum() ** 2 + 1 / (often > 0).sum() - 1 / 20
    wanted = ((1 + (often == 1)) / np.maximum(often, 1))[often > 0].sum() / (often > 0).sum() ** 2
    sampled.near("mean", means.mean(), 5.0, abs=4 * np.sqrt(true / RUNS) + 0.03)
    sampled.near("told / scatter", np.sqrt(covariances.mean()) / means.std(), np.sqrt(wanted / true), rel=WITHIN)


def test_the_error_of_a_mean_over_prompts_of_which_one_was_drawn_once_is_not_known() -> None:
    group = np.arange(5)
    factors = np.stack([np.ones(5), 5.0 * (group == 1), 0.0 * group], axis=1)
    drawn = drawn_values(3, [JointDraws((0, 1, 2), factors * 0.5, (5,), groups=group, factors=factors)])
    estimate = drawn.estimate()
    assert drawn.counts.tolist() == [5, 1, 0]
    assert estimate.mean[:2] == pytest.approx([0.5, 0.5]) and np.isnan(estimate.mean[2])
    assert np.isnan(estimate.variance).tolist() == [False, True, True]


def test_groups_of_one_unit_each_are_taken_together(sampled: Sampled) -> None:
    """Classes of one held-out image: their variance is told by what neighbouring classes differ by. Three of them have four draws
    each, so that what the mean of 12 took is given back twice where draws of one image meet."""

    def draw(rng: np.random.Generator) -> JointDraws:
        level, group = rng.standard_normal(30), np.arange(120) % 30
        values = level[group] + 0.1 * rng.standard_normal(120)
        return JointDraws((0,), values[:, None], (120,), units=group, groups=group)

    sampled.near("told / scatter", ratio(draw, sampled.seed), 1.08, abs=WITHIN)


def test_skewed_draws_of_prompts_have_a_third_moment_where_it_can_be_told(sampled: Sampled) -> None:
    """2 / n^2 where prompts have one draw or three, nothing where they have two."""
    rng = np.random.default_rng(sampled.seed)
    for often, wanted in ((1, 2.0), (2, 0.0), (3, 2.0)):
        drawn = [JointDraws((0,), rng.exponential(size=(60 * often, 1)), (60 * often,), groups=np.arange(60 * often) % 60)]
        drawn += [replace(drawn[0], values=rng.exponential(size=(60 * often, 1))) for _ in range(1500)]
        found = np.mean([each.spread(np.eye(1)).third[0] for each in drawn]) * (60 * often) ** 2
        sampled.near(f"{often} each", found, wanted, abs=0.6)


def test_the_scale_of_a_reward_on_fewer_samples_than_prompts_has_an_error(sampled: Sampled) -> None:
    """The mean of standardised values counts as z / N each."""
    z = np.random.default_rng(sampled.seed).standard_normal((400, 1))
    draws = JointDraws((1,), np.zeros((10, 1)), (10,))
    error = Scale((1,), z, groups=np.arange(400) % 700).spread(np.eye(1), draws)
    sampled.near("error", np.sqrt(error.covariance[0, 0]), 1 / 20, rel=0.25)


def test_units_of_groups(sampled: Sampled) -> None:
    """Classes of 4 and of 12 images, drawn equally often."""

    def draw(rng: np.random.Generator) -> JointDraws:
        level = np.concatenate([rng.standard_normal(4), 20 + rng.standard_normal(12)])
        group = np.arange(240) % 2
        row = np.where(group == 0, (np.arange(240) // 2) % 4, 4 + (np.arange(240) // 2) % 12)
        values = level[row] + 0.1 * rng.standard_normal(240)
        return JointDraws((0,), values[:, None], (240,), units=row, groups=group)

    sampled.near("told / scatter", ratio(draw, sampled.seed), 1.0, abs=WITHIN)


def test_joint_values_vary_together_and_differences_less(sampled: Sampled) -> None:
    def draw(rng: np.random.Generator) -> JointDraws:
        common, own = rng.standard_normal((50, 1)), rng.standard_normal((50, 2))
        return JointDraws((0, 1), 3.0 * common + own, (50,))

    means, covariances = told(draw, np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 1.0]]), sampled.seed)
    wanted = np.array([[10, 9, -1], [9, 10, 1], [-1, 1, 2]]) / 50
    sampled.near("told", covariances.mean(0), wanted, abs=0.012)
    sampled.near("scatter", np.cov(means.T), wanted, abs=0.062)


def test_sets_on_units_of_one_pool_vary_together(sampled: Sampled) -> None:
    """A constraint on 10 of the objective's 40 held-out images."""
    rng = np.random.default_rng(sampled.seed)
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 1.0]])
    means, covariances = [], []
    for _ in range(RUNS):
        level = rng.standard_normal(40)
        first, second = np.arange(80) % 40, np.arange(40) % 10
        sets = [
            JointDraws((c,), (level[of] + 0.3 * rng.standard_normal(len(of)))[:, None], (len(of),), units=of, pool="examples")
            for c, of in enumerate((first, second))
        ]
        moments = drawn_values(2, sets).moments(rows)
        means.append(moments.mean)
        covariances.append(moments.covariance)
    scatter = np.cov(np.array(means).T)
    sampled.near("told", np.mean(covariances, axis=0), scatter, abs=6 * np.sqrt(2 / RUNS) * 0.1)
    sampled.at_least("covariance", np.mean(covariances, axis=0)[0, 1], 0.015)  # 1 / 40 by the images, 0 if they were forgotten


@pytest.mark.parametrize("noise", ["gaussian", "rare", "exponential"])
def test_a_rewards_scale_has_an_error_too(noise: str, sampled: Sampled) -> None:
    """sigma^2 / n + Var(z + r (z^2 - 1) / 2) / N, and rewards that share the scale's samples vary together."""
    rng, n, size = np.random.default_rng(sampled.seed), 400, 300
    means, covariances = [], []
    for _ in range(RUNS):
        first = values(noise, rng, size)
        scales = np.stack([first, first + 0.5 * rng.standard_normal(size)], axis=1)
        at, by = scales.mean(0), scales.std(0, ddof=1)
        level = np.array([0.6, 0.6]) * np.sqrt([1.0, 1.25])
        reward = level + rng.standard_normal((n, 2))
        drawn = drawn_values(3, [JointDraws((1, 2), (reward - at) / by, (n,))], [Scale((1, 2), (scales - at) / by)])
        moments = drawn.moments(np.eye(3)[1:])
        means.append(moments.mean)
        covariances.append(moments.covariance)
    scatter, wanted = np.cov(np.array(means).T), np.mean(covariances, axis=0)
    sampled.near("told / scatter", np.sqrt(np.diag(wanted) / np.diag(scatter)), 1.0, abs=WITHIN)
    sampled.near("covariance / variance", wanted[0, 1] / wanted[0, 0], scatter[0, 1] / scatter[0, 0], abs=5 / np.sqrt(RUNS))
    sampled.at_least("with the scale's part", wanted[0, 0], 1.5 / n)  # without it 1 / n


def values(noise: str, rng: np.random.Generator, size: int) -> np.ndarray:
    """[size] of mean 0 and deviation 1."""
    if noise == "gaussian":
        return rng.standard_normal(size)
    if noise == "rare":
        return ((rng.random(size) < 0.1) - 0.1) / 0.3
    return rng.exponential(size=size) - 1.0


def test_third_moments_of_skewed_draws(sampled: Sampled) -> None:
    """Of n exponential draws the mean's third central moment is 2 / n^2, with or without strata and units."""
    rng, n = np.random.default_rng(sampled.seed), 240
    drawn: dict[str, list[float]] = {"plain": [], "strata": [], "units": []}
    for _ in range(300):
        column = rng.exponential(size=(n, 1))
        drawn["plain"].append(mean_spread(column, (n,), False, None, None).third[0])
        drawn["strata"].append(mean_spread(column, (n,), True, None, None).third[0])
        drawn["units"].append(
            mean_spread(np.repeat(column, 3, axis=0), (3 * n,), False, np.repeat(np.arange(n), 3), None).third[0]
        )
    for name, each in drawn.items():
        sampled.near(name, np.mean(each) * n**2, 2.0, abs=0.4)


def test_what_a_fit_takes_is_given_back() -> None:
    """For draws without any trend the told variance is unbiased: E sum r_j^2 / M_jj = n sigma^2."""
    maker = _maker(BIN)
    assert (maker**2).sum(1) / maker.diagonal() == pytest.approx(1.0)
    assert maker @ np.vander(np.arange(BIN), 3) == pytest.approx(0.0, abs=1e-12)


def test_what_is_not_known_is_nan() -> None:
    """One draw, none at all, and one that is not finite; what was measured beside them stays known."""
    bad = np.ones((5, 2)) * np.arange(5.0)[:, None]
    bad[2, 1] = np.inf
    drawn = drawn_values(5, [JointDraws((0,), np.ones((1, 1)), (1,)), JointDraws((2, 3), bad, (5,))])
    estimate = drawn.estimate()
    assert np.isnan(estimate.variance).tolist() == [True, True, False, True, True]
    assert np.isnan(estimate.mean).tolist() == [False, True, False, True, True]
    assert estimate.variance[2] == pytest.approx(2.5 / 5)
    with pytest.raises(ValueError, match="one set"):
        drawn_values(2, [JointDraws((0,), np.ones((1, 1)), (1,))] * 2)


def test_degrees_of_freedom_are_those_of_the_variances_own_scatter() -> None:
    """2 mean^2 / variance of V over many columns of normal noise; plain draws have n - 1 exactly."""
    values = np.random.default_rng(0).standard_normal((64, 4_000))
    assert JointDraws((0,), values[:, :1], (64,)).spread(np.eye(1)).degrees == pytest.approx([63.0])
    found = [JointDraws((0,), column[:, None], (64,), stratified=True).spread(np.eye(1)) for column in values.T]
    variances = np.array([each.covariance[0, 0] for each in found])
    true = 2.0 * variances.mean() ** 2 / variances.var()
    assert true == pytest.approx(0.6 * 64, rel=0.12)
    told = 1.0 / np.mean([1.0 / (each.degrees[0] + 2.0) for each in found]) - 2.0
    assert told == pytest.approx(true, rel=0.12)
