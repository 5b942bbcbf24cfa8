"""The dual rules: shipped ones by their words, each found by being a file of `rules/`, and users' own by import path."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pydantic import create_model

from dualsweep.trainer.config.import_path import import_instance
from dualsweep.trainer.dual import rules
from dualsweep.trainer.dual.rule import DualRule
from dualsweep.trainer.recipe.base import Section
from dualsweep.trainer.recipe.own_part import OwnPart

RULES: dict[str, DualRule] = {name: import_module(f"{rules.__name__}.{name}").RULE for name in rules.NAMES}


def rule_of(named: str | OwnPart) -> DualRule:
    """The rule that a recipe names; a user's own is imported.

    Raises:
        CannotImportError: the path leads to no dual rule.
    """
    return RULES[named] if isinstance(named, str) else import_instance(named.call, DualRule)


def own_values(rule: DualRule, options: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a user's rule's own keys, with their defaults.

    Raises:
        pydantic.ValidationError: an option is unknown, or not of its key's type.
    """
    keys: Any = dict(rule.keys)
    return dict(create_model("Options", __base__=Section, **keys).model_validate(dict(options)))
