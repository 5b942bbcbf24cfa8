"""Train diffusion models under constraints, and sweep dual step sizes and budgets: the public door of four rooms.

::

    import dualsweep

    result = dualsweep.train(dualsweep.load_recipe("recipe.yaml")[0])
    results = dualsweep.sweep(dualsweep.load_plan("sweep.yaml"))

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
    from dualsweep.cluster.errors import ClusterError
    from dualsweep.sweeps import load_plan, sweep
    from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
    from dualsweep.trainer.errors import TrainingError, TrainingInterrupted
    from dualsweep.trainer.ray_shell.launch import train
    from dualsweep.trainer.recipe.load import load_recipe
    from dualsweep.trainer.recipe.recipe import Recipe
    from dualsweep.trainer.result import Result

__version__ = "0.2.0"
__all__ = [
    "ClusterError", "Diagnostic", "InputError", "Recipe", "Result", "TrainingError", "TrainingInterrupted", "load_plan",
    "load_recipe", "sweep", "train",
]  # fmt: skip
_HOME = {
    "ClusterError": "dualsweep.cluster.errors",
    "Diagnostic": "dualsweep.trainer.config.diagnostics",
    "InputError": "dualsweep.trainer.config.diagnostics",
    "Recipe": "dualsweep.trainer.recipe.recipe",
    "Result": "dualsweep.trainer.result",
    "TrainingError": "dualsweep.trainer.errors",
    "TrainingInterrupted": "dualsweep.trainer.errors",
    "load_plan": "dualsweep.sweeps",
    "load_recipe": "dualsweep.trainer.recipe.load",
    "sweep": "dualsweep.sweeps",
    "train": "dualsweep.trainer.ray_shell.launch",
}

if not (Path(__file__).parent / "trainer").is_dir():  # a copy without its links: Ray unpacks zip archives so, as pip does
    __path__.append(str(Path(__file__).parent.parent))
if not any(isinstance(finder, OldNames) for finder in sys.meta_path):
    sys.meta_path.append(OldNames())


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dualsweep' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
