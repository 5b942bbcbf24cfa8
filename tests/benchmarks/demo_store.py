"""MLflow stores of thousands of trials as the demo's (`sweeps/digits.yaml`): its parameters, metrics and tags, and its pictures.

Written into MLflow's own tables, since its client takes a tenth of a second a trial; `test_demo_store.py` holds the rows against
those that the client writes. The points of the course of a training are left out, which a review does not read.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
from mlflow import MlflowClient

from dualsweep.analysis.budgets import write_budgets
from dualsweep.analysis.requirements import TAG, write_required
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.trainer.config.uris import sqlite_file
from dualsweep.trainer.recipe.recipe import flatten
from tests.benchmarks.common import ROOT
from tests.stores import empty_store

STEP_SIZE, BUDGET = "dual.step_size", "constraints.*.at_most"
NAMES = ("four", "five", "seven")
STEPS = 400
#: What one training of the demo measured of its samples, about which the made-up ones vary.
_MEASURED = {
    **{f"eval/share{kind}/{digit}": base for kind, base in (("", 0.1), ("_error", 0.0134), ("_low", 0.075), ("_high", 0.13))
       for digit in range(10)},
    "eval/tv_from_uniform": 0.094, "eval/tv_from_uniform_low": 0.0066, "eval/tv_from_uniform_high": 0.137,
    "eval/frechet": 1.55, "eval/frechet_low": 1.13, "eval/frechet_high": 1.97, "eval/frechet_error": 0.21,
    "eval/nearest_distance": 0.355, "eval/nearest_distance_q05": 0.267, "eval/copied_share": 0.162,
    "eval/nearest_distance_reference": 0.261, "eval/nearest_distance_reference_q05": 0.167, "eval/copied_share_reference": 0.44,
}  # fmt: skip


@dataclass(frozen=True)
class MadeTrial:
    """What MLflow has of one trial, with its times in Unix milliseconds."""

    run_id: str
    name: str
    start: int
    end: int
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    asked: dict[str, float]


def demo_store(folder: Path, count: int, pictures: Sequence[bytes] = ()) -> str:
    """An SQLite store with one sweep of `count` trials, `digits`; its URI. The trials' runs get the pictures in turn."""
    uri = empty_store(folder)
    client, plan = MlflowClient(uri), load_plan(str(ROOT / "sweeps/digits.yaml"))
    experiment = client.create_experiment(plan.experiment, artifact_location=(folder / "artifacts").as_uri())
    parent = _begin_sweep(client, experiment, plan)
    with contextlib.closing(sqlite3.connect(str(sqlite_file(uri)))) as store:
        for number, trial in enumerate(made_trials(plan, parent, count)):
            place = client_place(folder, trial.run_id)
            write_trial(store, experiment, trial, place.as_uri())
            if pictures:
                place.mkdir(parents=True)
                (place / "samples.png").write_bytes(pictures[number % len(pictures)])
        store.commit()
    return uri


def client_place(folder: Path, run_id: str) -> Path:
    """Where MLflow puts the artifacts of a run of the store in `folder`."""
    return Path(unquote(urlsplit((folder / "artifacts").as_uri()).path)) / run_id / "artifacts"


def _begin_sweep(client: MlflowClient, experiment: str, plan: Plan) -> str:
    """The sweep's own run, tagged as `sweeps/tracking/tracker.py` does."""
    tags = {
        "dualsweep.kind": "sweep",
        "dualsweep.objectives": json.dumps(plan.objectives),
        "dualsweep.search": json.dumps([each.name for each in plan.parameters]),
        "dualsweep.budgets": write_budgets(plan.ranges),
        TAG: write_required(plan.required),
    }
    return str(client.create_run(experiment, start_time=1_000_000, tags=tags, run_name=plan.experiment).info.run_id)


def made_trials(plan: Plan, parent: str, count: int, seed: int = 0) -> Iterator[MadeTrial]:
    """Trials on a front like the demo's: the objective against the largest loss above it, with the noise of training."""
    rng = np.random.default_rng(seed)
    recipe = {name: _text(value) for name, value in flatten(plan.trial_recipe({STEP_SIZE: 0.1, BUDGET: 0.0})).items()}
    for number in range(count):
        asked = {STEP_SIZE: float(0.05 * 5 ** rng.random()), BUDGET: float(rng.uniform(-0.06, 0.08))}
        params = (
            recipe | {f"constraints.{name}.at_most": str(asked[BUDGET]) for name in NAMES} | {STEP_SIZE: str(asked[STEP_SIZE])}
        )
        metrics = _metrics(asked[BUDGET], rng)
        start = 1_000_100 + 1000 * number
        tags = {
            "dualsweep.kind": "trial", "dualsweep.trial": f"{number:04d}", "mlflow.parentRunId": parent,
            "dualsweep.status": "out_of_steps", "dualsweep.reason": _reason(metrics), "dualsweep.params": json.dumps(asked),
            **{f"dualsweep.verdict.{name}": "met" if metrics[f"standing/{name}"] > 0 else "short_of_steps" for name in NAMES},
        }  # fmt: skip
        yield MadeTrial(rng.bytes(16).hex(), f"trial {number:04d}", start, start + 27_744, tags, params, metrics, asked)


def _reason(metrics: dict[str, float]) -> str:
    missed = [f"`{name}` by {-metrics[f'slack/{name}']:.4g} ± 0.0021" for name in NAMES if metrics[f"standing/{name}"] < 0]
    if missed:
        return f"all steps used with constraints violated: {', '.join(missed)} (tolerance 0.0028)"
    moving = ", ".join(f"the multiplier of `{name}` ({metrics[f'multiplier/{name}']:.4g} → 0.0949)" for name in NAMES)
    return f"all steps used, every constraint is met, but still moving: {moving}"


def _metrics(budget: float, rng: np.random.Generator) -> dict[str, float]:
    """The last value of everything that a training of the demo logs, under its names."""
    values = budget + rng.normal(0, 0.005, len(NAMES))
    worst = float(values.max())
    objective = 0.3063 + 1.35 * max(0.0, 0.08 - worst) ** 2 + abs(float(rng.normal(0, 0.0015)))
    metrics = {
        f"multiplier/{name}": float(each) for name, each in zip(NAMES, 0.9 * abs(0.08 - budget) * rng.random(3), strict=True)
    }
    metrics |= {"objective": objective, "lagrangian": objective - 0.001}
    for name, value in zip(NAMES, values.tolist(), strict=True):
        slack = budget - value
        standing = 1.0 if slack > -0.0028 else -1.0 if slack < -0.0068 else 0.0
        metrics |= {
            f"value/{name}": value, f"slack/{name}": slack, f"slack_error/{name}": 0.0021 * float(rng.uniform(0.98, 1.02)),
            f"budget/{name}": budget, f"multiplier_error/{name}": 0.012 * float(rng.uniform(0.5, 2)),
            f"tolerance/{name}": 0.0028, f"standing/{name}": standing,
        }  # fmt: skip
    missed = max(0.0, worst - budget)
    metrics |= {"value/max": worst, "violation/max": missed, "feasible": float(missed <= 0.0028), "objective_error": 0.0015}
    metrics |= {"value_low/max": worst - 0.005, "value_high/max": worst + 0.004, "system/seconds": float(rng.uniform(20, 30))}
    return metrics | {name: value * float(rng.uniform(0.7, 1.3)) for name, value in _MEASURED.items()}


def _text(value: object) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool | list | dict) else str(value)


def write_trial(store: sqlite3.Connection, experiment: str, trial: MadeTrial, place: str) -> None:
    """The rows of a trial's run, which has ended; its artifacts lie at the URI `place`."""
    run = (trial.run_id, trial.name, "UNKNOWN", "", "", "unknown", "FINISHED", trial.start, trial.end, "", "active", place)
    store.execute(f"insert into runs values ({', '.join('?' * 14)})", (*run, int(experiment), None))
    tags = trial.tags | {"mlflow.runName": trial.name}
    store.executemany("insert into tags values (?, ?, ?)", [(*tag, trial.run_id) for tag in tags.items()])
    store.executemany("insert into params values (?, ?, ?)", [(*param, trial.run_id) for param in trial.params.items()])
    points = [(name, value, trial.end, STEPS, trial.run_id) for name, value in trial.metrics.items()]
    store.executemany(_INTO.format("metrics"), points)
    store.executemany(_INTO.format("latest_metrics"), points)


_INTO = "insert into {} (key, value, timestamp, step, run_uuid, is_nan) values (?, ?, ?, ?, ?, 0)"
