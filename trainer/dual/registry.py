"""The dual rules by their words, each found by being a file of `rules/`."""

from __future__ import annotations

from importlib import import_module

from dualsweep.trainer.dual import rules
from dualsweep.trainer.dual.rule import DualRule

RULES: dict[str, DualRule] = {name: import_module(f"{rules.__name__}.{name}").RULE for name in rules.NAMES}
