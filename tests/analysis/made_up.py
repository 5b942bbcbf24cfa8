"""Made-up sweeps with a known shape: as records in memory, and logged to a real MLflow store."""

from __future__ import annotations

import io
import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from rich.console import Console

from dualsweep.analysis.budgets import write_budgets
from dualsweep.analysis.front import Front
from dualsweep.analysis.judging import constraint_outcomes, judge
from dualsweep.analysis.table import front_table
from dualsweep.analysis.trials import Budget, Direction, SweepRecord, Trial
from tests.stores import empty_store

OBJECTIVES: dict[str, Direction] = {"objective": "minimize", "value/max": "minimize"}
NAMES = ("four", "five", "seven")
HOSTILE = '</script><script>window.hacked=1</script> | `*` "quoted" & <b>bold</b>'


def front_text(record: SweepRecord, front: Front, width: int = 120) -> str:
    """The terminal's table as plain text, at most `width` characters wide."""
    output = io.StringIO()
    Console(file=output, width=width, color_system=None, highlight=False).print(front_table(record, front, width=width))
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines()) + "\n"


def trade_off(budget: float, noise: random.Random) -> tuple[float, float]:
    """A convex trade-off: the objective falls as the budget grows."""
    return 0.05 + 0.004 / budget + abs(noise.gauss(0, 0.002)), budget + noise.gauss(0, 0.004)


def metrics_of(budget: float, noise: random.Random, names: Sequence[str] = NAMES) -> dict[str, float]:
    objective, worst = trade_off(budget, noise)
    metrics = {"objective": objective, "objective_error": 0.0005, "eval/fid": 40 * objective + noise.random()}
    for place, name in enumerate(names):
        value = worst - 0.012 * place * noise.random()
        metrics |= {
            f"value/{name}": value,
            f"budget/{name}": budget,
            f"slack/{name}": budget - value,
            f"slack_error/{name}": 0.0015,
            f"multiplier/{name}": max(0.0, 0.004 / budget**2 - 0.05 * place),
            f"multiplier_error/{name}": 0.01,
        }
    slacks = [metrics[f"slack/{name}"] for name in names]
    metrics["value/max"] = max(metrics[f"value/{name}"] for name in names)
    metrics["violation/max"] = max(0.0, -min(slacks))
    metrics["feasible"] = float(min(slacks) >= -2 * 0.0015)
    metrics["lagrangian"] = objective - sum(metrics[f"multiplier/{n}"] * metrics[f"slack/{n}"] for n in names)
    return metrics


def made_up_trials(count: int, seed: int = 0, names: Sequence[str] = NAMES) -> list[Trial]:
    """Mostly good trials; every eleventh diverged, every thirteenth failed before it logged anything."""
    noise = random.Random(seed)
    trials = []
    for number in range(count):
        budget = 0.08 + 0.17 * noise.random()
        params = {"dual.step_size": 10 ** (-2.5 + 2 * noise.random()), "constraints.*.at_most": budget}
        metrics = metrics_of(budget, noise, names)
        status, reason = "converged", "the multipliers moved less than the tolerance"
        if metrics["feasible"] == 0:
            status, reason = "infeasible", "a constraint is violated by more than 2 standard errors"
        if number % 11 == 10:
            metrics["objective"], status, reason = 40.0, "diverged", "the loss left its bounds"
        if number % 13 == 12:
            metrics, status, reason = {}, "failed", HOSTILE
        trials.append(
            Trial(
                trial_id=f"{number:04d}",
                run_id=f"{number:032x}",
                status=status,
                reason=reason,
                params=params,
                metrics=metrics,
                constraints=constraint_outcomes(metrics, {}),
                seconds=30 + 10 * noise.random(),
                steps=1500,
            )
        )
    return trials


def made_up_sweep(
    count: int, seed: int = 0, objectives: Mapping[str, Direction] = OBJECTIVES, names: Sequence[str] = NAMES
) -> SweepRecord:
    trials = judge(made_up_trials(count, seed, names), list(objectives))
    return SweepRecord("1", "digits-minority", "f" * 32, objectives, None, trials, (budget_of(names),))


def budget_of(names: Sequence[str] = NAMES) -> Budget:
    """The one budget that all of a made-up trial's constraints share."""
    return Budget("constraints.*.at_most", tuple(names), "at_most", 0.08, 0.25)


def new_store(folder: Path, name: str = "digits-minority") -> tuple[str, str]:
    """Make an SQLite store with one experiment; returns the tracking URI and the experiment's id."""
    uri = empty_store(folder)
    client = MlflowClient(uri)
    experiment = client.create_experiment(name, artifact_location=(folder / "artifacts").as_uri())
    return uri, experiment


def log_parent(
    uri: str,
    experiment: str,
    *,
    start: int = 1_000_000,
    objectives: Mapping[str, str] = OBJECTIVES,
    tags: Mapping[str, str] | None = None,
) -> str:
    all_tags = {
        "dualsweep.kind": "sweep",
        "dualsweep.objectives": json.dumps(dict(objectives)),
        "dualsweep.budgets": write_budgets([budget_of()]),
        **(tags or {}),
    }
    run = MlflowClient(uri).create_run(experiment, start_time=start, tags=all_tags, run_name="sweep")
    return str(run.info.run_id)


def log_trial(uri: str, experiment: str, parent: str, trial: Trial, *, start: int = 1_000_000) -> str:
    """Log a trial as the tracker does: earlier values at earlier steps, the last ones at step `trial.steps`."""
    client = MlflowClient(uri)
    tags = {
        "mlflow.parentRunId": parent,
        "dualsweep.kind": "trial",
        "dualsweep.trial": trial.trial_id,
        "dualsweep.status": trial.status,
        "dualsweep.reason": trial.reason,
        "dualsweep.params": json.dumps(dict(trial.params)),
    }
    run = client.create_run(experiment, start_time=start, tags=tags, run_name=f"trial {trial.trial_id}")
    last = trial.steps or 1
    points = [Metric(name, value, 1, last) for name, value in trial.metrics.items()]
    # Logged after the last values and at a later time, but at an earlier step: it must not win.
    early = [Metric(name, 9.0, 5, last // 2) for name, value in trial.metrics.items() if not math.isnan(value)]
    params = [Param("dual.step_size", str(trial.params.get("dual.step_size"))), Param("train.steps", str(last))]
    client.log_batch(run.info.run_id, metrics=points, params=params, tags=[RunTag("mlflow.source.name", "test")])
    client.log_batch(run.info.run_id, metrics=early)
    if trial.status != "running":
        client.set_terminated(run.info.run_id, "FINISHED", end_time=start + round(1000 * (trial.seconds or 1)))
    return str(run.info.run_id)
