"""One constrained training of a diffusion model: `train(load_recipe("recipe.yaml")[0])`.

Importing this is light; what needs Ray or torch is imported when it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.ray_shell.launch import train
    from trainer.recipe.load import load_recipe
    from trainer.recipe.recipe import Recipe
    from trainer.result import Result

__all__ = ["Recipe", "Result", "load_recipe", "train"]
_HOME = {
    "Recipe": "trainer.recipe.recipe",
    "Result": "trainer.result",
    "load_recipe": "trainer.recipe.load",
    "train": "trainer.ray_shell.launch",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'trainer' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
