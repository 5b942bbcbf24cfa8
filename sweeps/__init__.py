"""Sweeps of constrained trainings: `sweep(load_plan("sweep.yaml"))`.

Importing this is light; what needs Ray, Optuna or MLflow is imported when it is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sweeps.planning.plan import Plan
    from sweeps.trials.results import Results

__all__ = ["load_plan", "sweep"]


def load_plan(path: str | Path, overrides: list[str] | None = None) -> Plan:
    """Reads and checks a sweep file, with `key=value` overrides.

    Raises:
        trainer.config.diagnostics.InputError: with every problem found.
    """
    from sweeps.planning.load import load_plan as read

    return read(path, overrides or [])


def sweep(plan: Plan, output: str | None = None, address: str | None = None) -> Results:
    """Runs or continues a sweep, as `dualsweep sweep` does; `output` is runs/NAME unless given, `address` a Ray cluster's.

    Raises:
        trainer.config.diagnostics.InputError: with every problem found, before anything starts.
        cluster.errors.ClusterError: the cluster can't be joined or is too small.
    """
    from sweeps.checking import checked_plan
    from sweeps.conduct import run_sweep
    from sweeps.output import Screen

    return run_sweep(checked_plan(plan, output, None, address), Screen())
