"""The estimators of the gradient on trajectories, one file each: the words of `rollout.gradient`. Each holds an `Estimator` (see
`trainer/sources/rollout.py`).

Listed by name alone, so that nothing is imported before it is used; what several share is in `sources/`.
"""

from __future__ import annotations

from dualsweep.trainer.config.plug_ins import words

NAMES = words(__path__)
