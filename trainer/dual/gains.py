"""What the recipe's `dual` section says of a dual step: the rule's gains, and their course over the run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.dual.registry import own_values, rule_of
from dualsweep.trainer.dual.rule import Gains
from dualsweep.trainer.recipe.dual import Dual


def gains_of(dual: Dual, names: Sequence[str], softness: Vector) -> Gains:
    """The recipe's gains, those by name in the order of the constraints; `softness` [m] is 1 / alpha, 0 for hard ones."""
    rule, given = rule_of(dual.rule), dual.step_size
    own = {key: getattr(dual, key) for key in rule.keys} if isinstance(dual.rule, str) else own_values(rule, dual.rule.options)
    size: float | Vector = np.array([given[name] for name in names]) if isinstance(given, dict) else given
    return Gains(rule.step_size(size, softness), dual.trust, own)


def gain(dual: Dual, step: int, total: int) -> float:
    """The factor on the gains at dual step `step` of `total`: linear warm-up, then the recipe's decay to zero."""
    rising = min(1.0, (step + 1) / dual.gain_warmup) if dual.gain_warmup else 1.0
    progress = min(1.0, step / max(1, total))
    falling = {"none": 1.0, "linear": 1.0 - progress, "cosine": 0.5 * (1.0 + math.cos(math.pi * progress))}[dual.decay]
    return rising * falling
