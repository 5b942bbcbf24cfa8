"""The estimators of the gradient on trajectories, one file each, found by being here: the words of `rollout.gradient`.

Each module holds an `Estimator` (see `trainer/sources/rollout.py`). Recipes are checked against their names alone, so nothing is
imported before it is used.
"""

from __future__ import annotations

from pkgutil import iter_modules

NAMES: tuple[str, ...] = tuple(sorted(each.name for each in iter_modules(__path__)))
