"""Class shares at equal seconds of training: ours, separate batches, and Cooper, on the digits with classes 4, 5, 7 cut to 10 %.

    python -m tests.benchmarks.bench_quality [--seeds 0 1 2] [--steps 1500] [--samples 2000]

Ours trains `sweeps/recipes/digits.yaml`; the others train as many seconds of one thread's processor, with the same network,
learning rate (falling by the share of seconds used), averaged weights and dual step size, and batches of 64 and 3 x 16.
All are sampled by `dpmpp_2m` in 20 steps and judged by a support vector machine that is no part of any. Then the last of ours is
sampled by diffusers' DDIM in 50 steps, too: seconds, Fréchet distance in a judge's features, and class shares of both.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from dualsweep.trainer.data.splits import assemble
from dualsweep.trainer.evaluation.images import Rows
from dualsweep.trainer.evaluation.judge import judge_for
from dualsweep.trainer.evaluation.judge_protocol import embed
from dualsweep.trainer.evaluation.shares import tv_from_uniform
from dualsweep.trainer.evaluation.shipped.frechet import distance
from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.models.schedules import noise_schedule
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.recipe.sampling import Sampling
from dualsweep.trainer.samplers.sampling import sample
from tests.benchmarks.bench_digits import svm_shares
from tests.benchmarks.common import digits, loop_of
from tests.benchmarks.peers import Problem, separate_batches, with_cooper
from tests.benchmarks.rows import RUNS, Interval, holds

SHAPE = (1, 8, 8)
#: Of the seconds of training by DDIM in 50 steps that `dpmpp_2m` may take.
SHARE = "<= 0.4"


def trained(recipe: Recipe) -> tuple[Predictor, float]:
    """Our averaged model, and the seconds of its processor that it took."""
    loop = loop_of(recipe)
    started = time.process_time()
    for _ in range(recipe.train.steps):
        loop.advance()
    seconds = time.process_time() - started
    with loop.primal.averaged(loop.settled) as model:
        return copy.deepcopy(model), seconds


def by_peer(recipe: Recipe, make: Callable[[Problem], Callable[[], object]], seconds: float) -> tuple[Predictor, int]:
    """A peer's averaged model after so many seconds of its processor, and the steps that it came to."""
    problem = Problem(recipe, 64, 16, averaged=True)
    step, steps, started = make(problem), 0, time.process_time()
    while (used := (time.process_time() - started) / seconds) < 1.0:
        warming = min(1.0, (steps + 1) / recipe.train.lr_warmup)
        problem.rate(warming * max(0.02, min(1.0, (1.0 - used) / recipe.train.lr_cooldown)))
        step()
        steps += 1
    assert problem.average is not None
    averaged: Predictor = problem.average.module  # type: ignore[assignment]  # a module is all that torch tells of it
    return averaged.eval(), steps


def drawn(recipe: Recipe, model: Predictor, count: int, seed: int) -> Tensor:
    """Samples [count, 1, 8, 8] by our default sampler."""
    way = Sampling("dpmpp_2m", 20, 1.0)
    return sample(model, noise_schedule(recipe, SHAPE), range(count), SHAPE, sampling=way, seed=seed, batch_size=256)


@torch.no_grad()
def by_ddim(recipe: Recipe, model: Predictor, count: int, seed: int) -> Tensor:
    """Samples [count, 1, 8, 8] by diffusers' DDIM in 50 steps."""
    scheduler = DDIMScheduler.from_config(noise_schedule(recipe, SHAPE).config, clip_sample=False, set_alpha_to_one=True)
    scheduler.set_timesteps(50)
    noise = torch.Generator().manual_seed(seed)
    batches = []
    for start in range(0, count, 256):
        x = torch.randn((min(256, count - start), *SHAPE), generator=noise)
        for t in scheduler.timesteps:
            x = scheduler.step(model(x, t.expand(len(x))), t, x).prev_sample
        batches.append(x)
    return torch.cat(batches)


def sampled_faster(recipe: Recipe, model: Predictor, count: int) -> list[bool]:
    """The rows of sampling: of the time of DDIM, at a distance and shares that are no worse beyond their spread over draws."""
    data = assemble(recipe).split.examples
    judge = judge_for(data, recipe.evaluation.judge, recipe.seed, None)
    assert judge is not None
    everything = embed(judge, Rows(data, np.arange(len(data))))
    ways = {"dpmpp_2m": drawn, "DDIM": by_ddim}
    seconds, distances, apart = ({name: list[float]() for name in ways} for _ in range(3))
    for seed in range(6):
        for name, way in ways.items():
            started = time.process_time()
            samples = way(recipe, model, count, seed)
            seconds[name].append(time.process_time() - started)
            distances[name].append(distance(embed(judge, Rows.of(samples)), everything))
            apart[name].append(tv_from_uniform(svm_shares(samples.numpy())))
    kept = [Interval.over(seconds["dpmpp_2m"], seconds["DDIM"]).holds("sampling, of the time of DDIM's 50 steps", SHARE, RUNS)]
    for what, by in (("Fréchet distance", distances), ("TV of class shares", apart)):
        spread = np.hypot(*(np.std(values, ddof=1) / np.sqrt(len(values)) for values in by.values()))
        more = (np.mean(by["dpmpp_2m"]) - np.mean(by["DDIM"])) / spread
        print(f"{what}: {np.mean(by['dpmpp_2m']):.4f}, by DDIM {np.mean(by['DDIM']):.4f}, standard error {spread:.2g}")
        kept.append(holds(f"sampling, {what} beyond DDIM's, in standard errors", float(more), "<= 2.0"))
    return kept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--samples", type=int, default=2000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    peers = {"separate batches": separate_batches, "Cooper": with_cooper}
    far: dict[str, list[float]] = {name: [] for name in ("ours", *peers)}
    for seed in options.seeds:
        recipe = digits(train={"steps": options.steps}).model_copy(update={"seed": seed})
        ours, seconds = trained(recipe)
        models = {"ours": (ours, options.steps)} | {name: by_peer(recipe, make, seconds) for name, make in peers.items()}
        for name, (model, steps) in models.items():
            far[name].append(tv_from_uniform(svm_shares(drawn(recipe, model, options.samples, seed).numpy())))
            print(f"seed {seed}, {name}: {steps} steps in {seconds:.0f} s, TV {far[name][-1]:.3f}", flush=True)
    means = {name: float(np.mean(values)) for name, values in far.items()}
    kept = [holds(f"TV of class shares at equal seconds, of {name}'s", means["ours"] / means[name], "<= 1.0") for name in peers]
    kept += sampled_faster(recipe, ours, options.samples)
    sys.exit(not all(kept))


if __name__ == "__main__":
    main()
