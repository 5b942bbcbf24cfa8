"""One constrained training of a diffusion model: `train(load_recipe("recipe.yaml")[0])`.

Importing this is light; what needs Ray or torch is imported when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if __name__ != "dualsweep.trainer":
    raise ModuleNotFoundError("`trainer` is a room of dualsweep: import it as `dualsweep.trainer`", name=__name__)

if TYPE_CHECKING:
    from dualsweep.trainer.ray_shell.launch import train
    from dualsweep.trainer.recipe.load import load_recipe
    from dualsweep.trainer.recipe.recipe import Recipe
    from dualsweep.trainer.result import Result

__all__ = ["Recipe", "Result", "load_recipe", "train"]
_HOME = {
    "Recipe": "dualsweep.trainer.recipe.recipe",
    "Result": "dualsweep.trainer.result",
    "load_recipe": "dualsweep.trainer.recipe.load",
    "train": "dualsweep.trainer.ray_shell.launch",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dualsweep.trainer' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
