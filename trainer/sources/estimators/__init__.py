"""The estimators of the gradient on trajectories, one file each, found by being here: the words of `rollout.gradient`.

Each module holds an `Estimator` (see `trainer/sources/rollout.py`). Recipes are checked against their names alone, so nothing is
imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

NAMES: tuple[str, ...] = tuple(sorted(each.name for each in iter_modules(__path__)))


def estimator(name: str) -> Any:
    """The class of that name."""
    return import_module(f"{__name__}.{name}").Estimator
