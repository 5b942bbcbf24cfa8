"""The Euclidean rule on the simplex ([CCA] Alg. 2): ascent, projected onto weights that sum to 1."""

from __future__ import annotations

from dualsweep.trainer.dual.rule import DualRule
from dualsweep.trainer.dual.rules.ascent import ascent

RULE = DualRule(ascent, on_simplex=True, proportional=True)
