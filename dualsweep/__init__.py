"""Train diffusion models under constraints, and sweep dual step sizes and budgets: the public door of four rooms.

::

    import dualsweep as ds

    run = ds.train("recipe.yaml", set={"train.steps": 500})  # or a dict, or a Recipe
    run.explain(), run.to_dataframe(), run.samples(16)
    swept = ds.sweep("sweep.yaml")
    ds.load("runs/faces"), ds.front("runs/faces-budgets")

What these do is what the commands do: the same files, verdicts and progress (docs/python.md).
The rooms are `dualsweep.trainer`, `dualsweep.sweeps`, `dualsweep.cluster` and `dualsweep.analysis`. In a checkout they are the
folders beside this one, reached by the links in it. Importing this is light; what needs Ray or torch is imported when it is used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualsweep.models_of_0_1 import OldNames

if TYPE_CHECKING:
    from dualsweep.analysis.errors import ReviewError
    from dualsweep.cluster.errors import ClusterError
    from dualsweep.sweeps import load_plan
    from dualsweep.sweeps.planning.plan import Plan
    from dualsweep.sweeps.python.calls import front, load, sweep, train
    from dualsweep.sweeps.python.drawn_front import Front
    from dualsweep.sweeps.python.explanation import Explanation
    from dualsweep.sweeps.python.run import Run
    from dualsweep.sweeps.python.swept import Swept
    from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
    from dualsweep.trainer.errors import TrainingError, TrainingInterrupted
    from dualsweep.trainer.recipe.load import load_recipe
    from dualsweep.trainer.recipe.recipe import Recipe
    from dualsweep.trainer.result import Result

__version__ = "0.2.0"
__all__ = [
    "ClusterError", "Diagnostic", "Explanation", "Front", "InputError", "Plan", "Recipe", "Result", "ReviewError", "Run", "Swept",
    "TrainingError", "TrainingInterrupted", "front", "load", "load_plan", "load_recipe", "sweep", "train",
]  # fmt: skip
_HOME = {
    "ClusterError": "dualsweep.cluster.errors",
    "Diagnostic": "dualsweep.trainer.config.diagnostics",
    "Explanation": "dualsweep.sweeps.python.explanation",
    "Front": "dualsweep.sweeps.python.drawn_front",
    "InputError": "dualsweep.trainer.config.diagnostics",
    "Plan": "dualsweep.sweeps.planning.plan",
    "Recipe": "dualsweep.trainer.recipe.recipe",
    "Result": "dualsweep.trainer.result",
    "ReviewError": "dualsweep.analysis.errors",
    "Run": "dualsweep.sweeps.python.run",
    "Swept": "dualsweep.sweeps.python.swept",
    "TrainingError": "dualsweep.trainer.errors",
    "TrainingInterrupted": "dualsweep.trainer.errors",
    "front": "dualsweep.sweeps.python.calls",
    "load": "dualsweep.sweeps.python.calls",
    "load_plan": "dualsweep.sweeps",
    "load_recipe": "dualsweep.trainer.recipe.load",
    "sweep": "dualsweep.sweeps.python.calls",
    "train": "dualsweep.sweeps.python.calls",
}

if not (Path(__file__).parent / "trainer").is_dir():  # a copy without its links: Ray unpacks zip archives so, as pip does
    __path__.append(str(Path(__file__).parent.parent))
if not any(isinstance(finder, OldNames) for finder in sys.meta_path):
    sys.meta_path.append(OldNames())


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dualsweep' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
