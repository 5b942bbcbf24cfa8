"""The estimators of the gradient on trajectories, one file each: the words of `rollout.gradient`. Each holds an `Estimator` (see
`trainer/sources/rollout.py`).

Listed by name alone, so that nothing is imported before it is used; what several share is in `sources/`.
"""

from __future__ import annotations

from pkgutil import iter_modules

NAMES: tuple[str, ...] = tuple(sorted(each.name for each in iter_modules(__path__)))
