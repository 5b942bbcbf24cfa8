"""How costs grow: a step in the constraints, a dual step in the workers, a sweep's own work in its trials.

    python -m tests.benchmarks.bench_growth [--rounds 6] [--steps 4]

Prints fitted exponents p of cost ~ n^p. A step has 256 samples in one thread. The coordinator's workers are simulated: their
reports come in one after another, in one event loop, as the actor gets them. A sweep's own work is what its driver does of each
trial: the suggestion and what the study writes of it, with trials as the demo's and the sampler `random`. What the others compute
is in bench_ask, beside Optuna's; the growth of `front` is in bench_front.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from dualsweep.sweeps.planning.load import load_plan
from dualsweep.trainer.dual.coordinator import CoordinatorServer
from dualsweep.trainer.dual.state import SlackReport
from dualsweep.trainer.engine.dual_side import controller_of
from tests.benchmarks.bench_ask import ours
from tests.benchmarks.bench_step_cost import subsets
from tests.benchmarks.common import ROOT, digits, interleaved, loop_of
from tests.benchmarks.demo_store import made_trials
from tests.benchmarks.rows import exponent, holds

CONSTRAINTS = (1, 10, 50, 200)
WORKERS = (10, 100, 1000)
#: Constraints that the simulated workers report.
REPORTED, DUAL_STEPS = 50, 400
TRIALS = (100, 300, 1000)
#: What the coordinator must do with the most workers: dual steps a second, and the slowest percent's milliseconds.
RATE, SLOWEST = 125, 9


def steps_by_constraints(rounds: int, steps: int) -> dict[int, float]:
    """Seconds a step."""
    loops = {str(m): loop_of(digits(subsets(m), train={"batch_size": 256, "floor": 1})).advance for m in CONSTRAINTS}
    times = interleaved(loops, rounds, steps, warmup=3)
    return {m: float(np.median(times[str(m)])) for m in CONSTRAINTS}


async def dual_steps(workers: int) -> tuple[float, list[float]]:
    """Seconds of a dual step less those of as many empty calls, and those from each last report to its answer."""
    controller = controller_of(digits(subsets(REPORTED), train={"batch_size": 256, "floor": 1}, dual={"step_size": 1e-6}))
    server, rng = CoordinatorServer(controller), np.random.default_rng(0)
    await server.begin(controller.first(), workers)
    count, whole, empty, answers = np.full(1 + REPORTED, 4.0), list[float](), list[float](), list[float]()
    values = rng.uniform(0.2, 0.4, (workers, 1 + REPORTED))
    for step in range(DUAL_STEPS):
        reports = [SlackReport(step, rank, count, count * values[rank], count * values[rank] ** 2) for rank in range(workers)]
        started = time.perf_counter()
        waiting = [asyncio.create_task(server.exchange(report)) for report in reports[:-1]]
        await asyncio.sleep(0)
        last = time.perf_counter()
        await server.exchange(reports[-1])
        answers.append(time.perf_counter() - last)
        await asyncio.gather(*waiting)
        whole.append(time.perf_counter() - started)
        started = time.perf_counter()
        await asyncio.gather(*(asyncio.create_task(asyncio.sleep(0)) for _ in range(workers)))
        empty.append(time.perf_counter() - started)
    return float(np.median(whole) - np.median(empty)), answers[10:]


def by_trials() -> dict[int, float]:
    """Seconds of a sweep's own work on all its trials, by how many there are."""
    plan, costs, spent = load_plan(ROOT / "sweeps/digits.yaml", ["sampler.name=random", "trials=100000"]), dict[int, float](), 0.0
    with tempfile.TemporaryDirectory() as folder:
        ask = ours(plan, Path(folder), [])
        for number, trial in enumerate(made_trials(plan, "", max(TRIALS)), start=1):
            started = time.perf_counter()
            ask()(trial)
            spent += time.perf_counter() - started
            if number in TRIALS:
                costs[number] = spent
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--steps", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    steps = steps_by_constraints(options.rounds, options.steps)
    print("ms a step by constraints:", {m: round(1000 * seconds, 1) for m, seconds in steps.items()}, flush=True)
    measured = {workers: asyncio.run(dual_steps(workers)) for workers in WORKERS}
    seconds = {workers: each[0] for workers, each in measured.items()}
    print("ms a dual step by workers:", {workers: round(1000 * each, 2) for workers, each in seconds.items()}, flush=True)
    trials = by_trials()
    print("seconds of a sweep's own work by trials:", {number: round(seconds, 1) for number, seconds in trials.items()})
    most = max(WORKERS)
    kept = [
        holds("exponent of a step's time in constraints", exponent(steps), "<= 0.5"),
        holds("exponent of a dual step's time in workers", exponent(seconds), "<= 1.0"),
        holds(f"{most} workers, {REPORTED} constraints, dual steps a second", 1 / seconds[most], f">= {RATE}"),
        holds(
            f"{most} workers, ms from the last report to its answer, 99 % of them",
            1000 * float(np.quantile(measured[most][1], 0.99)),
            f"<= {SLOWEST}",
        ),
        holds("exponent of a sweep's own work in trials", exponent(trials), "<= 1.0"),
    ]
    sys.exit(not all(kept))


if __name__ == "__main__":
    main()
