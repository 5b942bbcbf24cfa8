"""Sweeps of constrained trainings: `sweep(load_plan("sweep.yaml"))`.

Importing this is light; what needs Ray, Optuna or MLflow is imported when it is used.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "sweeps" and "dualsweep" in sys.modules:
    __path__.clear()  # in a checkout this file hides what `dualsweep.models_of_0_1` finds; with no path of its own it doesn't
elif __name__ != "dualsweep.sweeps":
    raise ModuleNotFoundError("`sweeps` is a room of dualsweep: import it as `dualsweep.sweeps`", name=__name__)

if TYPE_CHECKING:
    from dualsweep.sweeps.planning.plan import Plan
    from dualsweep.sweeps.trials.results import Results

__all__ = ["load_plan", "sweep"]


def load_plan(path: str | Path, overrides: Sequence[str] | Mapping[str, Any] | None = None) -> Plan:
    """Reads and checks a sweep file, with `overrides` laid over it, a dict by dotted keys or texts `key=value`.

    Raises:
        dualsweep.trainer.config.diagnostics.InputError: with every problem found.
    """
    from dualsweep.sweeps.planning.load import load_plan as read

    return read(path, () if overrides is None else overrides)


def sweep(plan: Plan, output: str | None = None, address: str | None = None) -> Results:
    """Runs or continues a sweep, as `dualsweep sweep` does; `output` is runs/NAME unless given, `address` a Ray cluster's.

    Raises:
        dualsweep.trainer.config.diagnostics.InputError: with every problem found, before anything starts.
        dualsweep.cluster.errors.ClusterError: the cluster can't be joined or is too small.
    """
    from dualsweep.sweeps.python.calls import sweep as run

    return run(plan, output, address)
