"""How long the trials of a sweep are, and whether the shortest report points enough for `early_stopping` to go by.

Imports nothing heavy.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.planning.search import Parameter
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.recipe.recipe import Recipe

#: Points of a trial below which a trend tells nothing in time.
LEAST_POINTS = 20
#: Keys by which trials of a search differ in their points.
_KEYS = ("train", "train.steps", "train.log_every", "dual", "dual.every")


def check_lengths(plan: Plan) -> list[Diagnostic]:
    """Trials too short for any rule that stops early: of the recipe's steps, of those searched, or continued ones."""
    shortest = min(_lengths(plan), key=lambda length: length[0] // length[1], default=None)
    if plan.sweep.early_stopping is None or shortest is None or shortest[0] // shortest[1] >= LEAST_POINTS:
        return []
    steps, every, whose = shortest
    received = f"{steps // every}{whose} (train.steps {steps} by train.log_every {every})"
    searched = any(each.name == "train.log_every" for each in plan.parameters)
    remedy = f"{'search train.log_every up to' if searched else 'write train.log_every'} {steps // LEAST_POINTS}"
    if steps < LEAST_POINTS:
        remedy = f"give it at least {LEAST_POINTS} steps"
    rule, remedy = f"must have at least {LEAST_POINTS} points of a trial to go by", f"{remedy}, or drop `early_stopping`"
    return [plan.document.diagnostic(("early_stopping",), rule, received, remedy)]


def _lengths(plan: Plan) -> Iterator[tuple[int, int, str]]:
    """The steps of a trial, of how many of them each point is, and in words which trial, at each end of what is searched."""
    continuation = plan.sweep.continuation
    for recipe in _recipes(plan):
        yield recipe.train.steps, recipe.train.log_every, " of the shortest trial" if _searched(plan) else ""
        if continuation is not None:
            yield continuation.steps_of(recipe), recipe.train.log_every, " of a continued trial"


def steps_at_ends(plan: Plan) -> list[tuple[int, int]]:
    """The primal steps of a trial that starts anew, and of a later one, which may go on from another, at each end of what is
    searched.
    """
    continuation = plan.sweep.continuation
    return [
        (recipe.train.steps, recipe.train.steps if continuation is None else continuation.steps_of(recipe))
        for recipe in _recipes(plan)
    ]


def _recipes(plan: Plan) -> Iterator[Recipe]:
    """A trial's recipe at each end of what is searched of its length."""
    searched = _searched(plan)
    for values in itertools.product(*(each.kind.ends for each in searched)):
        with contextlib.suppress(InputError):  # values that go together nowhere are told by the search
            yield plan.trial_recipe({each.name: value for each, value in zip(searched, values, strict=True)})


def _searched(plan: Plan) -> list[Parameter]:
    return [each for each in plan.parameters if each.name in _KEYS]
