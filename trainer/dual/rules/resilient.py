"""The resilient rule ([RCL]): ascent on the relaxed slacks, of budgets with an `alpha`."""

from __future__ import annotations

from dualsweep.trainer.dual.rule import DualRule
from dualsweep.trainer.dual.rules.ascent import ascent

RULE = DualRule(ascent, relaxes=True, proportional=True)
