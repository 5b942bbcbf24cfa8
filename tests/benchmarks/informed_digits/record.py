"""Searches of the benchmark in MLflow, by the sweep's own tracker: what `dualsweep compare` and `dualsweep front` read."""

from __future__ import annotations

from pathlib import Path

from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.tracking.tracker import Tracker
from tests.benchmarks.informed_digits.known import Rows


def record(plan: Plan, rows: Rows, tracking_uri: str, folder: Path) -> str | None:
    """Writes a search as a sweep; returns the parent run's id, None where MLflow could not be reached."""
    sampler = plan.sweep.sampler
    file = plan.document.file
    continued = "-continued" if plan.sweep.continuation else ""
    name = f"{plan.name}-{sampler.name.replace('_', '-')}{continued}-{sampler.seed}"
    spec = f"{{name: {sampler.name}, seed: {sampler.seed}}}"
    named = load_plan(file, [f"name={name}", f"sampler={spec}", f"mlflow.tracking_uri={tracking_uri}"])
    with Tracker(named, folder / name, print) as tracker:
        for number, (params, result) in enumerate(rows):
            tracker.trial(number, params).point(result.steps, result.metrics, final=True)
            tracker.end_trial(number, result.status, result.reason)
        tracker.end("finished", "FINISHED")
        tracker.flush(60.0)
        return tracker.run_id
