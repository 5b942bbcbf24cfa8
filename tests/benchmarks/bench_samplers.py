"""What each sampler makes of Gaussians, claimed beside measured: `python -m tests.benchmarks.bench_samplers`.

T x steps x sampler x prediction, without sampling: with exact predictions, which are affine, the own steps of the product are an
affine map of their draws, whose mean and covariance are asked for at no draws and at unit draws. The data is
N((1.5, -1), sd^2 I).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product

import numpy as np
import torch
from diffusers import DDPMScheduler
from torch import Tensor

from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.recipe.product import Product
from dualsweep.trainer.rng import Stream, normals
from dualsweep.trainer.samplers.chain import Steps, steps_of
from dualsweep.trainer.samplers.langevin import product_samples
from dualsweep.trainer.samplers.rollout import roll_out
from dualsweep.trainer.samplers.walk import walk
from tests.benchmarks.coverage import Row
from tests.trainer.samplers.gaussians import CHAINS, PREDICTIONS, Draws, Gaussian, exact, grid, moments, published, schedule_of

TOTALS, COUNTS = (50, 80, 128, 200, 300, 1000), (7, 15, 20, 29, 30, 31, 50, 70)
NARROW, WIDE = Gaussian(0.2), Gaussian(0.5)


def main() -> None:
    failed = 0
    print("| samples of | claimed | measured | holds |\n|---|---|---|---|")
    for each in (first_order, along_rollouts, by_langevin, second_order, amortised):
        for row in each():
            print(f"| {row.claim} | {row.claimed} | {row.measured} | {'yes' if row.holds else '**no**'} |", flush=True)
            failed += not row.holds
    raise SystemExit(1 if failed else 0)


def first_order() -> Iterator[Row]:
    """DDIM and DDPM beside their published updates on the even grid, at every number of steps."""
    for sampler, prediction, total in product(("ddim", "ddpm"), PREDICTIONS, TOTALS):
        schedule = schedule_of(prediction, total)
        model, measured, expected = exact(NARROW, schedule, prediction), [], []
        for count in (each for each in COUNTS if each <= total):
            measured.append(_walked(model, schedule, sampler, count))
            expected.append(published(NARROW, schedule.alphas_cumprod.double().numpy()[grid(total, count)], sampler))
        yield _beside(f"{sampler}, {prediction}, T = {total}", measured, expected)


def along_rollouts() -> Iterator[Row]:
    """Delivered samples of the alignment chain beside the recursion of mean and variance over its documented steps."""
    for prediction, total in product(PREDICTIONS, TOTALS):
        schedule = schedule_of(prediction, total)
        model, measured, expected = exact(NARROW, schedule, prediction), [], []
        for count in (each for each in COUNTS if each <= total):
            steps = steps_of(schedule, count, 1.0)
            measured.append(_moments(*moments(partial(_delivered, model, steps), count)))
            expected.append(_recursion(NARROW, steps.signal, steps.next_signal, steps.kept, (*steps.sigma, 0.0)))
        yield _beside(f"rollout, {prediction}, T = {total}", measured, expected)


def by_langevin() -> Iterator[Row]:
    """Annealed Langevin steps of the sizes that they recorded, beside the recursion of mean and variance over them."""
    for prediction, total in product(PREDICTIONS, TOTALS):
        schedule = schedule_of(prediction, total)
        model, spec = exact(NARROW, schedule, prediction), Product(levels=min(20, total), steps=3)
        sizes = product_samples(model, schedule, spec, partial(normals, 0, Stream.POOL, positions=range(64), shape=(2,))).sizes
        made = _moments(*moments(partial(_annealed, model, schedule, spec, sizes), 1 + len(sizes)))
        mean, variance = 0.0, 1.0
        levels = [*grid(total, spec.levels)[:-1], 0]
        for number, size in enumerate(map(float, sizes)):
            a = float(schedule.alphas_cumprod[levels[number // spec.steps]])
            pull = size / (a * NARROW.sd**2 + 1 - a)
            mean, variance = mean - pull * (mean - a**0.5 * NARROW.mean[0]), (1 - pull) ** 2 * variance + 2 * size
        yield _beside(f"langevin, {prediction}, T = {total}", [made], [(mean, variance**0.5)])


def second_order() -> Iterator[Row]:
    """20 steps of the multistep solver beside the data, and DDIM's for comparison."""
    for prediction, total in product(PREDICTIONS, [each for each in TOTALS if each >= 100]):
        schedule = schedule_of(prediction, total)
        worst = {}
        for sampler, count in (("dpmpp_2m", 20), ("ddim", 20), ("ddim", 50)):
            errors = [_walked(exact(of, schedule, prediction), schedule, sampler, count)[1] / of.sd - 1 for of in (NARROW, WIDE)]
            worst[sampler, count] = max(map(abs, errors))
        measured = f"sd off by {worst['dpmpp_2m', 20]:.1%} (ddim: {worst['ddim', 20]:.0%}, with 50 steps {worst['ddim', 50]:.0%})"
        yield Row(f"dpmpp_2m, {prediction}, T = {total}, 20 steps", "sd within 3 % of the data's", measured,
                  worst["dpmpp_2m", 20] <= 0.03)  # fmt: skip


def amortised() -> Iterator[Row]:
    """An amortised model at three multipliers, which shift its mean."""
    schedule = schedule_of("epsilon", 200)
    signal = schedule.alphas_cumprod.double()

    class Tilted(torch.nn.Module):
        def forward(self, x: Tensor, t: Tensor, multipliers: Tensor) -> Tensor:
            a = signal[t][:, None]
            noise: Tensor = (1 - a).sqrt() / (a * 0.2**2 + 1 - a) * (x - a.sqrt() * 0.1 * multipliers)
            return noise.float()

    for multiplier in (0.0, 1.0, 10.0):
        mean, sd = _walked(Predictor(Tilted()).at(np.array([multiplier])), schedule, "dpmpp_2m", 20)
        holds = abs(mean - 0.1 * multiplier) <= 0.01 and abs(sd / 0.2 - 1) <= 0.03
        yield Row(f"dpmpp_2m, amortised, multiplier {multiplier:g}, T = 200, 20 steps", "mean within .01, sd within 3 %",
                  f"mean off by {abs(mean - 0.1 * multiplier):.4f}, sd by {abs(sd / 0.2 - 1):.1%}", holds)  # fmt: skip


def _delivered(model: Predictor, steps: Steps, draws: Draws) -> Tensor:
    """Samples of an alignment's chain."""
    return roll_out(model, steps, torch.stack([draws(number) for number in range(len(steps))], dim=1)).samples


def _annealed(model: Predictor, schedule: DDPMScheduler, spec: Product, sizes: Sequence[Tensor], draws: Draws) -> Tensor:
    """Samples by Langevin steps of these sizes."""
    return product_samples(model, schedule, spec, draws, sizes=sizes).samples


def _walked(model: Predictor, schedule: DDPMScheduler, sampler: str, count: int) -> tuple[float, float]:
    """The first coordinate's mean and sd after `count` steps."""
    chain = CHAINS[sampler](schedule, count)
    return _moments(*moments(lambda draws: walk(model, schedule, chain, draws), 1 + count))


def _moments(mean: np.ndarray, covariance: np.ndarray) -> tuple[float, float]:
    return float(mean[0]), float(covariance[0, 0] ** 0.5)


def _recursion(
    of: Gaussian, signal: Sequence[float], following: Sequence[float], kept: Sequence[float], sigma: Sequence[float]
) -> tuple[float, float]:  # fmt: skip
    """Mean and sd after steps x' = √a' x0 + kept noise + sigma draw, with x0 and noise exact for the data."""
    mean, variance = 0.0, 1.0
    for a, after, share, added in zip(signal, following, kept, sigma, strict=True):
        total = a * of.sd**2 + 1 - a
        gain = after**0.5 * a**0.5 * of.sd**2 / total + share * (1 - a) ** 0.5 / total
        mean = after**0.5 * of.mean[0] + gain * (mean - a**0.5 * of.mean[0])
        variance = gain**2 * variance + added**2
    return mean, variance**0.5


def _beside(claim: str, found: Sequence[tuple[float, float]], expected: Sequence[tuple[float, float]]) -> Row:
    """The largest differences over the numbers of steps."""
    means, sds = (np.array([each[k] for each in found]) for k in (0, 1))
    right, wide = (np.array([each[k] for each in expected]) for k in (0, 1))
    mean, sd = np.abs(means - right).max(), np.abs(sds / wide - 1).max()
    return Row(claim, "mean within .01, sd within 2 % of the reference", f"mean off by {mean:.1e}, sd by {sd:.1e}",
               bool(mean <= 0.01 and sd <= 0.02))  # fmt: skip


if __name__ == "__main__":
    main()
