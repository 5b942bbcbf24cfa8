"""The dual rules, one file each: the words of `dual.rule`. Each holds a `RULE` (see `trainer/dual/rule.py`).

Imports nothing heavy before a dual step is taken; what several share is in `dual/`.
"""

from __future__ import annotations

from dualsweep.trainer.config.plug_ins import words

NAMES = words(
    __path__, ("ascent", "nu_pi", "fixed", "resilient", "simplex", "mirror", "augmented_lagrangian", "newton", "secant")
)
