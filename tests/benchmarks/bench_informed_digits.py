"""Trials until a sweep of real trainings has 95 % of a dense sweep's hypervolume, by sampler: digits, one and three budgets.

    python -m tests.benchmarks.bench_informed_digits [--cases one,three] [--seeds 3] [--cache runs/bench-informed-digits]
    python -m tests.benchmarks.bench_informed_digits --dense            # makes informed_digits/dense.json anew

The sweeps are `informed_digits/one.yaml` (one budget for the classes 4, 5 and 7 together) and `three.yaml` (one each), of a small
network on the digits with these classes cut to 10 %. Every trial is a training (600 primal steps of 128 samples, two seconds of
one core) in one of two processes, placed by the sampler of a sweep. Trainings are kept in the cache, so that the benchmark goes
on where it was interrupted. Three measures, each against the dense sweep's own by the same measure, of feasible trials alone:

- **attained**: the hypervolume of (objective, constraint values) that the trained models dominate one by one. This is the
  requirement: `dual_informed` must need at most half of what the best of the others needs.
- **mixtures**: that of randomised models, which draw each sample from model j with probability alpha_j. Losses are expectations,
  so the convex hull of what was attained is theirs exactly.
- **known**: how well the front is known all over the box: its mean error is within 5 % of the mean height of the dominated
  volume.
  `dual_informed` reads the front off its trials' multipliers, the others by a Gaussian process of the objective over budgets.

`… continued` are sweeps with `continuation: true`, whose later trials take a third of the steps from where a neighbour ended;
they come below the dense sweep's front, so how well they know it is not asked. `fewest` is how few of the dense sweep's own
trials have it, picked one by one in hindsight. `amortised` is one training for all multipliers, as by `amortised: true` of a
sweep (the compute of three trials), whose models at budgets of a grid are read off it.

Required is at most half of the best of TPE, GPSampler and random as they are, by what is attained, in trials and in compute
(primal steps, in those of a trial that starts anew). Exits with 1 where `dual_informed continued` misses it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import optuna

from dualsweep.trainer.result import Result
from tests.benchmarks.informed_digits.amortised import TRIALS as AMORTISED
from tests.benchmarks.informed_digits.amortised import amortised
from tests.benchmarks.informed_digits.known import Fronts, Rows
from tests.benchmarks.informed_digits.record import record
from tests.benchmarks.informed_digits.trials import HERE, dense_points, dense_trial, plan_of, search
from tests.benchmarks.informed_digits.volumes import Vector, attained, course, fewest, mixtures

WANTED, AT_MOST = 0.95, 0.5
#: Just beyond the loose end of the box and the objective at its tight end.
REFERENCE = {"one": np.array([0.46, 0.105]), "three": np.array([0.46, 0.055, 0.055, 0.055])}
INFORMED, OTHERS, ON = "dual_informed", ("tpe", "gp", "random"), " continued"
OWN = (INFORMED, INFORMED + ON)
SEARCHES = (*OWN, *OTHERS, "tpe" + ON)
TRIALS = {
    "one": dict.fromkeys(SEARCHES, 24),
    "three": {**dict.fromkeys(SEARCHES, 96), INFORMED: 48, "gp": 48},
}
#: Points along each budget at which the amortised network is measured.
GRID = {"one": 17, "three": 4}
STEPS = 600
MEASURES = ("attained", "mixtures", "known")
VOLUMES: dict[str, Callable[[Vector, Vector], float]] = {"attained": attained, "mixtures": mixtures}


def points_of(case: str, rows: Rows) -> Vector:
    """What trials attained, [n, 1 + budgets]: of a shared budget the largest value."""
    values = np.array([[each.value for each in result.constraints.values()] for _, result in rows])
    values = values.max(axis=1, keepdims=True) if case == "one" else values
    return np.column_stack([[result.objective for _, result in rows], values])


def needed(reached: Sequence[bool]) -> float:
    """The number of trials from which on it stays reached; infinite where it is not in the end."""
    missing = np.flatnonzero(~np.asarray(reached))
    first = int(missing[-1]) + 2 if len(missing) else 1
    return first if first <= len(reached) else np.inf


class Truth:
    """What the dense sweep says of a case."""

    def __init__(self, case: str) -> None:
        kept = json.loads((HERE / "dense.json").read_text())[case]
        self.case, self.reference = case, REFERENCE[case]
        self.rows = [(each["params"], Result.from_json(each["result"])) for each in kept]
        feasible = [row for row in self.rows if row[1].feasible != "violated"]
        self.points = points_of(case, feasible)
        self.volumes = {name: volume(self.points, self.reference) for name, volume in VOLUMES.items()}
        self.fronts = Fronts(plan_of(case, INFORMED))
        self.front = self.fronts.by_multipliers(self.rows)

    def fewest(self, measure: str) -> int:
        return fewest(self.points, self.reference, VOLUMES[measure], WANTED * self.volumes[measure])

    def trials_to(self, measure: str, search: str, rows: Rows) -> float:
        """How many trials a search needed."""
        if measure in VOLUMES:
            volumes = course(
                points_of(self.case, rows), [row[1].feasible != "violated" for row in rows], self.reference, VOLUMES[measure]
            )
            return needed((volumes >= WANTED * self.volumes[measure]).tolist())
        if search.endswith(ON):
            return np.nan
        told = self.fronts.by_multipliers if search == INFORMED else self.fronts.by_values
        height = (self.reference[0] - self.front).mean()
        errors = [np.abs(told(rows[: k + 1]) - self.front).mean() / height for k in range(len(rows))]
        return needed([error <= 1 - WANTED for error in errors])


def _quietly() -> None:
    os.nice(19)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")


def run_all(cases: Sequence[str], seeds: int, cache: Path) -> dict[tuple[str, str, int], Rows]:
    """Every search, two at a time."""
    jobs = [(case, name, seed) for seed in range(seeds) for case in cases for name in SEARCHES]
    with ProcessPoolExecutor(2, get_context("spawn"), _quietly) as pool:
        waiting = {}
        for case, name, seed in jobs:
            waiting[case, name, seed] = pool.submit(search, case, *_sampler(name), seed, TRIALS[case][name], cache)
        return {job: [(each.params, each.result) for each in done.result()] for job, done in waiting.items()}


def _sampler(name: str) -> tuple[str, bool]:
    """The sampler of a search, and whether it continues."""
    return name.removesuffix(ON), name.endswith(ON)


def make_dense(cache: Path) -> None:
    """Trains the dense sweeps and writes their data."""
    data = {}
    with ProcessPoolExecutor(2, get_context("spawn"), _quietly) as pool:
        for case in REFERENCE:
            waiting = [(point, pool.submit(dense_trial, case, point, cache)) for point in dense_points(case)]
            data[case] = [{"params": point, "result": slim(each.result())} for point, each in waiting]
    lines = {case: ",\n".join(json.dumps(row) for row in rows) for case, rows in data.items()}
    text = ",\n".join(f'"{case}": [\n{rows}\n]' for case, rows in lines.items())
    (HERE / "dense.json").write_text(f"{{\n{text}\n}}\n")


def slim(result: Result) -> dict[str, object]:
    """What the benchmark needs of a result: no metrics but the objectives', to seven decimals."""
    plain = result.to_json()
    kept = {name: value for name, value in plain["metrics"].items() if name == "objective" or name.startswith("value/")}
    text = json.dumps({**plain, "metrics": kept, "reason": "", "checkpoint": None})
    short: dict[str, object] = json.loads(text, parse_float=lambda digits: round(float(digits), 7))
    return short


def show(case: str, truth: Truth, found: dict[tuple[str, str, int], Rows], seeds: int) -> bool:
    """Prints a case's tables; returns whether what is required is met."""
    print(f"\n{case}: dense sweep of {len(truth.rows)} trials, {len(truth.points)} feasible; a trial is {STEPS} x 128 samples")
    print("trials, the median and each seed's (compute where it differs); `> n` where n were not enough")
    print(f"{'':>24} {'attained':>26} {'mixtures':>26} {'known':>26}   infeasible")
    print(f"{'fewest':>24} {truth.fewest('attained'):>26} {truth.fewest('mixtures'):>26}")
    trials: dict[tuple[str, str], float] = {}
    compute: dict[tuple[str, str], float] = {}
    for name in SEARCHES:
        searches = [found[case, name, seed] for seed in range(seeds)]
        cells = []
        for measure in MEASURES:
            counts = [truth.trials_to(measure, name, rows) for rows in searches]
            costs = [_compute(rows, count) for rows, count in zip(searches, counts, strict=True)]
            trials[name, measure], compute[name, measure] = float(np.median(counts)), float(np.median(costs))
            shown = " ".join(_count(each, TRIALS[case][name]) for each in [trials[name, measure], *counts])
            cells.append(
                "-" if np.isnan(counts).any() else shown if counts == costs else f"{shown} ({compute[name, measure]:.1f})"
            )
        infeasible = sum(result.feasible == "violated" for rows in searches for _, result in rows)
        print(f"{name:>24} " + " ".join(f"{cell:>26}" for cell in cells) + f"   {infeasible} of {sum(map(len, searches))}")
    for measure in MEASURES:
        for name in OWN:
            shares = [_share(case, each, name, measure) for each in (trials, compute)]
            if np.isfinite(shares).all():
                print(f"{measure}: {name} {shares[0]:.2f} of the best of the others in trials, {shares[1]:.2f} in compute")
    return all(_share(case, each, INFORMED + ON, "attained") <= AT_MOST for each in (trials, compute))


def _compute(rows: Rows, trials: float) -> float:
    return sum(result.steps for _, result in rows[: int(trials)]) / STEPS if np.isfinite(trials) else trials


def _count(trials: float, most: int) -> str:
    return f"> {most}" if np.isinf(trials) else f"{trials:g}"


def _share(case: str, needed: dict[tuple[str, str], float], name: str, measure: str) -> float:
    """Of what the best of the others needs, at most: one whose trials were not enough needs at least one more."""
    return needed[name, measure] / min(min(needed[other, measure], TRIALS[case][other] + 1) for other in OTHERS)


def amortised_points(case: str, seed: int, cache: Path) -> Vector:
    """What an amortised network attains at the budgets of a grid, [n, 1 + budgets]."""
    ends = np.array([each.kind.ends for each in plan_of(case).parameters], dtype=np.float64)
    axes = [np.linspace(low, high, GRID[case]) for low, high in ends]
    grid = np.array(list(itertools.product(*axes)))
    points = amortised(case, seed, np.repeat(grid, 3 // grid.shape[1], axis=1), cache)
    values = np.array([list(each.values.values()) for each in points])
    values = values.max(axis=1, keepdims=True) if case == "one" else values
    return np.column_stack([[each.objective for each in points], values])


def show_amortised(case: str, truth: Truth, seeds: int, cache: Path) -> None:
    """Prints the share of the reference that one amortised training has."""
    for seed in range(seeds):
        points = amortised_points(case, seed, cache)
        shares = {name: volume(points, truth.reference) / truth.volumes[name] for name, volume in VOLUMES.items()}
        said = ", ".join(f"{name} {share:.1%} of the dense sweep's" for name, share in shares.items())
        print(f"amortised, seed {seed}, one training of {AMORTISED} trials' compute, {len(points)} points: {said}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="one,three")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=Path("runs/bench-informed-digits"))
    parser.add_argument("--dense", action="store_true", help="train the dense sweeps and write dense.json")
    parser.add_argument("--record", help="a tracking URI: writes every search to MLflow as a sweep, for `dualsweep compare`")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    if options.dense:
        make_dense(options.cache / "trainings")
        return 0
    cases = options.cases.split(",")
    searches = run_all(cases, options.seeds, options.cache / "trainings")
    if options.record:
        for (case, name, seed), rows in searches.items():
            sampler, continued = _sampler(name)
            plan = plan_of(case, sampler, seed, continued)
            print(case, name, seed, record(plan, rows, options.record, options.cache / "record"))
    met = []
    for case in cases:
        truth = Truth(case)
        met.append(show(case, truth, searches, options.seeds))
        show_amortised(case, truth, options.seeds, options.cache / "trainings")
    print(
        f"\nrequired: attained, at most {AT_MOST} of the best of the others in trials and in compute:",
        "met" if all(met) else "MISSED",
    )
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
