"""Searched keys that no trial makes use of: all their values give the same training."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.planning.search import apply
from dualsweep.trainer.checks.unused_keys import is_unused, unused_keys
from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.recipe.recipe import Recipe

#: As many recipes are looked at: each end of each parameter together with those of all others, or, of more, by itself.
_MOST = 64


def idle_searches(plan: Plan) -> Iterator[Diagnostic]:
    """A warning for each entry of the search whose keys the recipe ignores, whatever values the other entries have."""
    unused = [unused_keys(recipe) for recipe in _recipes(plan)]
    told = dict.fromkeys(each.written.keys for each in plan.parameters)
    for keys in told:
        names = [each.name for each in plan.parameters if each.written.keys == keys]
        if unused and all(is_unused(name, keys_of) for name in names for keys_of in unused):
            received = f"`{names[0]}`, which it ignores: trials that differ in it alone are alike"
            yield plan.document.diagnostic(keys[:2], "should be of use to the recipe", received, "drop it")


def _recipes(plan: Plan) -> Iterator[Recipe]:
    """The recipes at the ends of the search; where they are too many, those with one entry's end each beside the base."""
    parameters = plan.parameters
    if math.prod(len(each.kind.ends) for each in parameters) <= _MOST:
        choices: Iterator[Mapping[str, Any]] = (
            dict(zip((each.name for each in parameters), values, strict=True))
            for values in itertools.product(*(each.kind.ends for each in parameters))
        )
    else:
        choices = ({each.name: value} for each in parameters for value in each.kind.ends[:_MOST])
    for choice in choices:
        with contextlib.suppress(ValidationError):  # a corner that is none of the trials'
            yield Recipe.model_validate(apply(plan.recipe_document.data, choice))
