"""What early stopping saves, and how soon a stopped trial gives back what it held.

    python -m tests.benchmarks.bench_stopping saving [--trials 16] [--steps 400] [--curves curves.json]
    python -m tests.isolated python -m tests.benchmarks.bench_stopping release [--trials 30] [--piece 30] [--folder FOLDER]

`saving` trains the trials of a sweep over two budgets and the dual step size of the digits to their ends, in this process, and
plays their points to the judge as a sweep with one trial at a time would: a quasi-random sweep places the same trials whatever
ends early, so both sweeps are known exactly. Trials are kept in `--curves`, and not trained again. Shown are the steps of all
trials and the hypervolume, without early stopping and with each rule.

`release` runs a real sweep whose budgets no trial can meet, one trial at a time, `--piece` trials for each start of the command:
the seconds from the record of a stop to the last sight of an actor or placement group, and whether the whole cluster is free at
the end of each piece. Exits with 1 where it is not, or where a release took more than 5 s.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from dualsweep.analysis.front import find_front
from dualsweep.analysis.hypervolume import hypervolume, reference_point_of
from dualsweep.sweeps.early_stopping.early_stopper import EarlyStopper
from dualsweep.sweeps.early_stopping.watched import Watched
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.planning.schema import Dominated, EarlyStopping, Halving
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.sweeps.studies.study import Study
from dualsweep.sweeps.trials.results import sweep_record
from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.worker import run_worker
from dualsweep.trainer.result import Result
from tests.benchmarks.common import ROOT
from tests.pipeline.conftest import PARTS, RECIPE
from tests.pipeline.test_hosting import ONE_LAYER, TWO_BUDGETS

MOST_SECONDS = 5.0
RULES = {
    "infeasible": EarlyStopping(infeasible=True),
    "dominated": EarlyStopping(dominated=Dominated()),
    "halving": EarlyStopping(halving=Halving()),
    "infeasible and dominated": EarlyStopping(infeasible=True, dominated=Dominated()),
    "all": EarlyStopping(infeasible=True, dominated=Dominated(), halving=Halving()),
}


@dataclass(frozen=True)
class Ended:
    """A trial trained to its end: its values of the search, its points and its result."""

    params: dict[str, Any]
    points: list[tuple[int, dict[str, float]]]
    result: dict[str, Any]


def digits_sweep(folder: Path, trials: int, steps: int) -> Plan:
    recipe = {
        **RECIPE,
        "constraints": [{"name": name, "data": {"classes": [c]}, "at_most": 0.3} for name, c in (("four", 4), ("five", 5))],
        "train": {"steps": steps, "batch_size": 16, "lr": 2e-3, "log_every": max(1, steps // 80)},
        "evaluation": {"samples": 1, "sample_steps": 1, "loss_draws": 512, "metrics": [], "grid": 0},
        "checkpoint": {"every": 100 * steps},
    }
    sweep = {
        "name": "saving",
        "recipe": "recipe.yaml",
        "search": {"constraints.[*].at_most": {"uniform": [0.02, 0.3]}, "dual.step_size": {"log_uniform": [0.003, 0.3]}},
        "sampler": "quasi_random",
        "trials": trials,
        "early_stopping": {"infeasible": True, "dominated": True, "halving": True},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    return load_plan(folder / "sweep.yaml")


def trained(plan: Plan, folder: Path, curves: Path) -> list[Ended]:
    """The trials, trained to their ends where `curves` does not have them."""
    kept = [Ended(**each) for each in json.loads(curves.read_text())] if curves.exists() else []
    with Study(plan, folder / "study") as study:
        for number in range(plan.trials):
            asked = study.ask()
            if number < len(kept) and kept[number].params == asked.params:
                continue
            recipe, output = plan.trial_recipe(asked.params), folder / str(number)
            host = LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(str(output), 1))
            result = run_worker(recipe, host, str(output), str(folder / "judges"))
            assert result is not None
            points = [(each["step"], each["metrics"]) for report in host.reports for each in report["points"]]
            kept[number:] = [Ended(asked.params, points[:-1], result.to_json())]
            curves.write_text(json.dumps([asdict(each) for each in kept]))
            print(f"trial {number}: {result.status}, {result.seconds:.0f} s", flush=True)
    return kept[: plan.trials]


def saving(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        plan = digits_sweep(Path(place), options.trials, options.steps)
        ended = trained(plan, Path(place), options.curves)
    records = [TrialRecord(i, each.params, Result.from_json(each.result)) for i, each in enumerate(ended)]
    whole = sweep_record(plan, records)
    reference = reference_point_of(whole)
    assert reference is not None
    total = sum(each.result.steps for each in records)
    best = volume(plan, records, reference)
    feasible = sum(map(whole.admitted, whole.trials))
    print(f"{len(records)} trials of {options.steps} steps, {feasible} feasible, {len(find_front(whole).trials)} on the front")
    print(f"{'rule':<26}{'steps':>8}{'saved':>8}{'hypervolume':>14}{'lost':>8}{'stopped':>9}{'feasible stopped':>18}")
    print(f"{'none':<26}{total:>8}{0:>8.0%}{best:>14.5f}{0:>8.1%}{0:>9}{0:>18}")
    for name, rules in RULES.items():
        stops = played(plan, rules, ended)
        steps = sum(stops.get(i, each.result.steps) for i, each in enumerate(records))
        left = volume(plan, [each for i, each in enumerate(records) if i not in stops], reference)
        wrong = sum(whole.admitted(whole.trials[i]) for i in stops)
        row = f"{steps:>8}{1 - steps / total:>8.0%}{left:>14.5f}{1 - left / best:>8.1%}{len(stops):>9}{wrong:>18}"
        print(f"{name:<26}{row}")
    return 0


def played(plan: Plan, rules: EarlyStopping, ended: list[Ended]) -> dict[int, int]:
    """At which step each stopped trial is stopped, trials one after the other."""
    judge, stops = EarlyStopper(rules, plan.objectives), dict[int, int]()
    for i, finished in enumerate(ended):
        trial = Watched.of(f"{i:04d}", plan.trial_recipe(finished.params))
        judge.begin(trial)
        stop = next((step for step, metrics in finished.points if judge.take(trial.name, step, metrics)), None)
        if stop is not None:
            stops[i] = stop
        result = {**finished.result, "status": "stopped"} if stop is not None else finished.result
        judge.end(trial.name, Result.from_json(result))
    return stops


def volume(plan: Plan, records: list[TrialRecord], reference: tuple[float, ...]) -> float:
    record = sweep_record(plan, records)
    points = [record.point(trial) for trial in find_front(record).trials]
    return hypervolume(points, list(plan.objectives.values()), reference) if points else 0.0


def release(options: argparse.Namespace) -> int:
    folder = options.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    budgets = {"constraints.four.at_most": {"uniform": [-1.0, -0.5]}}
    sweep = {**TWO_BUDGETS, "hosting": "fresh", "points": [], "search": budgets, "sampler": {"name": "random", "seed": 0}}
    recipe = {**ONE_LAYER, "train": {**ONE_LAYER["train"], "steps": 400, "log_every": 5}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "parts.py").write_text(PARTS)
    done, seconds, ok = len(list((folder / "runs" / "stopping" / "records").glob("*.json"))), list[float](), True
    while done < options.trials:
        done = min(options.trials, done + options.piece)
        (folder / "sweep.yaml").write_text(yaml.safe_dump({**sweep, "trials": done}))
        command = [sys.executable, "-m", "tests.pipeline.releases", "sweep.yaml", "r.json"]
        subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
        seen = json.loads((folder / "r.json").read_text())
        mine = [each["seconds"] for each in seen["releases"]]
        seconds, ok = [*seconds, *mine], ok and seen["free"] and not seen["left"]
        shown = f"median {statistics.median(mine):.2f} s, most {max(mine):.2f} s"
        print(f"{len(mine)} stopped: released after {shown}; all free: {seen['free']}, left: {seen['left']}", flush=True)
    if seconds:
        print(f"{len(seconds)} in all: median {statistics.median(seconds):.2f} s, most {max(seconds):.2f} s")
    return 0 if ok and max(seconds, default=0.0) <= MOST_SECONDS else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["saving", "release"])
    parser.add_argument("--trials", type=int, default=None)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--curves", type=Path, default=Path("curves.json"))
    parser.add_argument("--piece", type=int, default=30)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    options.trials = options.trials or {"saving": 16, "release": 30}[options.what]
    return {"saving": saving, "release": release}[options.what](options)


if __name__ == "__main__":
    sys.exit(main())
