"""Every standard error and interval that a run prints, against its scatter about a known truth, by the product's own estimators.

z is (printed value - truth) / printed error. Claimed of every error: a standard deviation of z in [0.9, 1.15] and a mean
within 0.2 of 0; of every interval: it covers in 93 % or more. 1,000 seeds a row, unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.dual.problem import ConstrainedProblem
from dualsweep.trainer.dual.reduction import reduce
from dualsweep.trainer.engine.assembly import prepare
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.evaluation.drawn import JointDraws, drawn_values
from dualsweep.trainer.evaluation.jackknife import jackknifed
from dualsweep.trainer.evaluation.largest import largest_interval
from dualsweep.trainer.evaluation.scale import Scale
from dualsweep.trainer.evaluation.shares import Z, share_errors, share_intervals, tv_from_uniform, tv_interval
from dualsweep.trainer.evaluation.shipped.frechet import APART, to_gaussian
from dualsweep.trainer.evaluation.values import expectations
from dualsweep.trainer.recipe.train import Train
from dualsweep.trainer.sources.mixture_batch import Mixture, Parts, draw
from dualsweep.trainer.sources.value_accumulator import ValueAccumulator
from dualsweep.trainer.terms.timesteps import Timesteps
from tests.benchmarks.coverage import Row
from tests.known.test_composition import composed

Array = NDArray[np.float64]
#: Draws a number of seeds: of one seed the printed value less the truth, and the printed error.
Missed = Callable[[np.random.Generator], tuple[float, float]]


def rows(scale: float) -> Iterator[Row]:
    runs = max(20, int(1000 * scale))
    yield from (_errors(claim, one, runs) for claim, one in PRINTED.items())
    yield from _shares(runs)
    yield from _frechet(runs)
    yield from _largest(runs)
    yield _composition(max(20, runs // 5))


def z_row(claim: str, z: Array) -> Row:
    mean, sd = float(z.mean()), float(z.std(ddof=1))
    return Row(claim, "mean z ± 0.2, sd 0.9-1.15", f"mean {mean:+.2f}, sd {sd:.2f}", abs(mean) <= 0.2 and 0.9 <= sd <= 1.15)


def covering_row(claim: str, covered: float) -> Row:
    return Row(claim, "covers ≥ 93 %", f"{covered:.1%}", covered >= 0.93)


def _errors(claim: str, one: Missed, runs: int) -> Row:
    off, errors = np.array([one(np.random.default_rng(seed)) for seed in range(runs)]).T
    return z_row(claim, off / errors)


# --- values, slacks, rewards ---------------------------------------------------------------------------------------------------


def _loss(place: Array) -> Array:
    """By timestep, steep at the clean end; its mean is 1."""
    heights: Array = 1.0 / (0.05 + place) / np.log(1.05 / 0.05)
    return heights


def _noise(kind: str, rng: np.random.Generator, size: int) -> Array:
    """[size] of mean 0 and deviation 1."""
    noise: Array = rng.standard_normal(size)
    if kind == "exponential":
        noise = rng.exponential(size=size) - 1.0
    elif kind == "t5":
        noise = rng.standard_t(5, size) / (5 / 3) ** 0.5
    elif kind == "rare":
        noise = (((rng.random(size) < 0.1) - 0.1) / 0.3).astype(np.float64)
    return noise


def value(kind: str, rng: np.random.Generator) -> tuple[float, float]:
    """A loss on 1,024 draws in two stages, one of each stratum of t."""
    parts = [_loss((np.arange(n) + rng.random(n)) / n) + _noise(kind, rng, n) for n in (512, 512)]
    estimate = drawn_values(1, [JointDraws((0,), np.concatenate(parts)[:, None], (512, 512), stratified=True)]).estimate()
    return float(estimate.mean[0] - 1.0), float(np.sqrt(estimate.variance[0]))


def slack(rng: np.random.Generator) -> tuple[float, float]:
    """Relative to the objective, on the same 300 samples."""
    problem = ConstrainedProblem(("a",), np.array([0.5]), np.array([True]))
    common = 2.0 * rng.standard_normal((300, 1))
    values = common + rng.standard_normal((300, 2)) + np.array([1.0, 1.2])
    estimate = drawn_values(2, [JointDraws((0, 1), values, (300,))]).estimate()
    return float(problem.slacks(estimate.mean)[0] - 0.3), float(problem.slack_errors(estimate)[0])


def by_unit(units: int, draws: int, rng: np.random.Generator) -> tuple[float, float]:
    """Each image has a level of its own, as large as the noise of a draw."""
    level = rng.standard_normal(units)
    which = np.concatenate([rng.permutation(units) for _ in range(-(-draws // units))])[:draws]
    values = _loss((np.arange(draws) + rng.random(draws)) / draws) + level[which] + rng.standard_normal(draws)
    drawn = drawn_values(1, [JointDraws((0,), values[:, None], (draws,), stratified=True, units=which)])
    estimate = drawn.estimate()
    return float(estimate.mean[0] - 1.0), float(np.sqrt(estimate.variance[0]))


def reward(kind: str, rng: np.random.Generator) -> tuple[float, float]:
    """0.5 deviations up, on 1,024 samples, by a scale of 512."""
    scale, samples = _noise(kind, rng, 512), 0.5 + _noise(kind, rng, 1024)
    mean, std = scale.mean(), scale.std(ddof=1)
    sets = [JointDraws((1,), ((samples - mean) / std)[:, None], (1024,))]
    estimate = drawn_values(2, sets, [Scale((1,), ((scale - mean) / std)[:, None])]).estimate()
    return float(estimate.mean[1] - 0.5), float(np.sqrt(estimate.variance[1]))


def difference_of_rewards(rng: np.random.Generator) -> tuple[float, float]:
    """Two rewards by one scale's samples, on the same samples: their difference."""
    first = rng.standard_normal(512)
    scale = np.stack([first, 0.8 * first + 0.6 * rng.standard_normal(512)], axis=1)
    second = rng.standard_normal(1024)
    samples = np.stack([second, 0.8 * second + 0.6 * rng.standard_normal(1024)], axis=1) + np.array([0.5, 1.0])
    mean, std = scale.mean(0), scale.std(0, ddof=1)
    drawn = drawn_values(3, [JointDraws((1, 2), (samples - mean) / std, (1024,))], [Scale((1, 2), (scale - mean) / std)])
    found = drawn.moments(np.array([[0.0, -1.0, 1.0]]))
    return float(found.mean[0] - 0.5), float(np.sqrt(found.variance[0]))


def training_slack(rng: np.random.Generator) -> tuple[float, float]:
    """The controller's slack of a dual step over 5 primal steps of 48 and 16 draws each, relative to the objective."""
    problem, sums = ConstrainedProblem(("a",), np.array([0.5]), np.array([True])), ValueAccumulator(2)
    parts, counts, first = Parts.of([np.arange(10), np.arange(10)]), np.array([48, 16]), np.zeros(2, dtype=np.int64)
    for step in range(5):
        mixture = Mixture(np.arange(2), parts, Timesteps(1000), Train(steps=5), int(rng.integers(2**31)))
        batch = draw(mixture, counts, first, np.ones(2), step)
        values = _loss((batch.timestep + 0.5) / 1000) + rng.standard_normal(len(batch.part)) + 0.2 * batch.part
        sums.add_stratified(batch.part, torch.from_numpy(values))
    estimate = reduce([sums.report(0, 0)])
    centre = float(_loss((np.arange(1000) + 0.5) / 1000).mean())
    assert abs(centre - 1.0) < 0.01
    return float(problem.slacks(estimate.mean)[0] - 0.3), float(problem.slack_errors(estimate)[0])


PRINTED: dict[str, Missed] = {
    **{f"value, {kind} draws, stratified": partial(value, kind) for kind in ("normal", "exponential", "t5")},
    "slack relative to the objective, same samples": slack,
    "slack in training, batches stratified": training_slack,
    "value over 50 held-out images, 400 draws": partial(by_unit, 50, 400),
    "value over 512 chains, 2,048 draws": partial(by_unit, 512, 2048),
    "value over 1,024 samples, 400 draws": partial(by_unit, 1024, 400),
    **{f"normalised reward, {kind}": partial(reward, kind) for kind in ("normal", "rare", "exponential")},
    "difference of two rewards by one scale": difference_of_rewards,
}


# --- shares, Fréchet distance, the largest, KLs -------------------------------------------------------------------


def _shares(runs: int) -> Iterator[Row]:
    rng = np.random.default_rng(0)
    for expected in (5.0, 20.0, 250.0, 495.0):
        counts = rng.binomial(500, expected / 500, 10 * runs)
        errors = np.array([share_errors(np.array([count, 500 - count]))[0] for count in counts])
        known = np.isfinite(errors)
        z = (counts[known] - expected) / 500 / errors[known]
        yield z_row(f"class share, {expected:g} of 500 expected, error printed in {known.mean():.0%}", z)
    for expected in (0.1, 1.0, 3.0):
        counts = rng.binomial(500, expected / 500, 10 * runs)
        ends = np.array([[end[0] for end in share_intervals(np.array([count, 500 - count]))] for count in counts])
        inside = (ends[:, 0] <= expected / 500) & (expected / 500 <= ends[:, 1])
        yield covering_row(f"class share, {expected:g} of 500 expected, interval", float(inside.mean()))
    for name, shares in (("equal", [0.1] * 10), ("one rare", [0.01, *[0.11] * 9]), ("unequal", [0.5, 0.3, 0.2])):
        truth = tv_from_uniform(np.array(shares))
        low, high = np.array([tv_interval(rng.multinomial(500, shares)) for _ in range(runs)]).T
        inside = (low <= truth + 1e-12) & (truth <= high + 1e-12)
        yield covering_row(f"tv_from_uniform, {name} shares, interval {np.mean(high - low):.3f} wide", float(inside.mean()))


def _frechet(runs: int) -> Iterator[Row]:
    for width, size, apart, many in (
        (8, 200, 0.3, runs),
        (64, 500, 0.1, runs // 4),
        (8, 200, 0.0, runs),
        (64, 500, 0.0, runs // 4),
    ):
        rng, reference = np.random.default_rng(0), (np.zeros(width), np.eye(width), np.eye(width))
        spread = 1.2 if apart else 1.0
        truth = width * (apart**2 + (np.sqrt(spread) - 1) ** 2)
        distances, errors = np.array(
            [
                jackknifed(partial(to_gaussian, *reference), apart + np.sqrt(spread) * rng.standard_normal((size, width)))
                for _ in range(many)
            ]
        ).T
        claim = f"Fréchet distance {truth:.2f}, {size} samples of {width} features, {len(distances)} seeds"
        if truth:
            yield z_row(claim, (distances - truth) / errors)
        low, high = (np.maximum(0.0, distances + sign * Z * errors) for sign in (-1, 1))
        yield covering_row(f"{claim}, interval", float(((low <= truth) & (truth <= high)).mean()))
        if not truth:
            printed = float((distances >= APART * errors).mean())
            yield Row(f"{claim}, error printed", "≤ 5 %", f"{printed:.1%}", printed <= 0.05)


def _largest(runs: int) -> Iterator[Row]:
    rng = np.random.default_rng(0)
    for name, truth in (
        ("3 equal values", np.zeros(3)),
        ("10 equal values", np.zeros(10)),
        ("1 apart", np.array([6.0, 0.0, 0.0])),
    ):
        for common in (0.0, 0.9):
            covariance = common + (1 - common) * np.eye(len(truth))
            found = rng.multivariate_normal(truth, covariance, 10 * runs)
            ends = np.array([largest_interval(each, np.ones(len(truth))) for each in found])
            inside = (ends[:, 0] <= truth.max()) & (truth.max() <= ends[:, 1])
            yield covering_row(f"the largest of {name}, correlation {common:g}, interval", float(inside.mean()))


def _composition(runs: int) -> Row:
    """The product's own chains and KLs at equal weights, about the mean over seeds: finite Langevin steps are biased."""
    recipe = composed(
        "composition_and", ["oval_0", "oval_2"], "kl", [2], dual={"rule": "fixed"}, train={"steps": 1},
        product={"samples": 64, "levels": 10, "steps": 5}, evaluation={"samples": 0, "loss_draws": 256, "batch_size": 256},
    )  # fmt: skip
    told = []
    with TemporaryDirectory() as folder:
        host = LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(str(Path(folder))))
        for seed in range(runs):
            own = prepare(recipe.model_copy(update={"seed": seed}), host)
            drawn = expectations(own.sources, np.array([0.0, 0.5, 0.5]), host, range(256))
            assert drawn is not None
            estimate = drawn.estimate()
            told.append((estimate.mean[1], np.sqrt(estimate.variance[1])))
    values, errors = np.array(told).T
    claim = f"composition KL, 256 draws of 64 chains, about its mean over {runs} seeds"
    return z_row(claim, (values - values.mean()) / errors)
