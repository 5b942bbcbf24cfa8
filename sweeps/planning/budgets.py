"""Which searched parameters are budgets of constraints, told once for a plan, and what is asked of them.

Imports nothing heavy: bad input is answered before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from dualsweep.analysis.trials import Budget
from dualsweep.sweeps.planning.kinds import Choice, Integers, LogUniform
from dualsweep.sweeps.planning.search import Parameter
from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.config.dotted_keys import places
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.feasibility.defaults import without_tolerance
from dualsweep.trainer.recipe.bound import KEYS
from dualsweep.trainer.recipe.load import OverlaidDocument, tolerance_problems
from dualsweep.trainer.recipe.recipe import Recipe

NAME = "dual_informed"


def searched_budgets(parameters: Sequence[Parameter], recipe: OverlaidDocument) -> tuple[Budget, ...]:
    """The budgets among the parameters of a search, which a plan has; `recipe` is the base that the parameters vary."""
    budgets = []
    for parameter in parameters:
        reached = places(parameter.name, recipe.data)
        if all(len(keys) == 3 and keys[0] == "constraints" and keys[2] in KEYS for keys in reached):
            names = tuple(str(recipe.data["constraints"][keys[1]]["name"]) for keys in reached)
            kind, sense = parameter.kind, next(word for word in KEYS if word == reached[0][2])
            numbers = [float(end) for end in kind.ends if isinstance(end, int | float)]
            low, high = (min(numbers), max(numbers)) if len(numbers) == len(kind.ends) else (math.nan, math.nan)
            log, whole = isinstance(kind, LogUniform), isinstance(kind, Integers)
            budgets.append(Budget(parameter.name, names, sense, low, high, log, whole))
    return tuple(budgets)


def range_tolerances(budgets: Sequence[Budget], recipe: Recipe) -> dict[str, float]:
    """The tolerances that follow from the searched ranges, by constraint: one for all trials.

    Constraints whose tolerance is given, or whose values are normalised, are left out.
    """
    left_alone = _left_alone(recipe)
    found = [(name, each.tolerance) for each in budgets for name in each.constraints]
    return {name: tolerance for name, tolerance in found if tolerance is not None and name not in left_alone}


def own_tolerances(budgets: Sequence[Budget], recipe: Recipe) -> frozenset[str]:
    """The searched constraints whose tolerance follows from each trial's own budget: not from a range, nor from the recipe."""
    searched = {name for each in budgets for name in each.constraints}
    return frozenset(searched - set(range_tolerances(budgets, recipe)) - _left_alone(recipe))


def _left_alone(recipe: Recipe) -> set[str]:
    """The constraints whose tolerance no search changes: given, or of normalised values."""
    given, names = recipe.feasibility.tolerance, {each.name for each in recipe.constraints}
    if given is not None and not isinstance(given, dict):
        return names
    own = {recipe.constraints[each.column - 1].name for each in recipe.terms if each.column and each.term.normalised}
    return set(given or {}) | (own if recipe.rollout.normalize else set())


def check_tolerances(budgets: Sequence[Budget], base: OverlaidDocument, recipe: Recipe) -> list[Diagnostic]:
    """Budgets of 0 of which no tolerance can be taken."""
    searched = {name for each in budgets for name in each.constraints}
    return tolerance_problems(recipe, base, [name for name in without_tolerance(recipe) if name not in searched])


def check_informed(
    sweep: OverlaidDocument, parameters: Sequence[Parameter], budgets: Sequence[Budget], recipe: Recipe
) -> list[Diagnostic]:
    """What `dual_informed` cannot search: no budget, a budget from a list, tied equalities, multipliers that do not move."""
    if not budgets:
        received = f"only {', '.join(f'`{each.name}`' for each in parameters)}"
        remedy = "search e.g. `constraints.[*].at_most: {uniform: [0.08, 0.25]}`, or take another sampler"
        return [sweep.diagnostic(("search",), f"must vary a constraint's budget with the sampler `{NAME}`", received, remedy)]
    problems, written = [], {each.name: each.written for each in parameters}
    for budget in budgets:
        keys, kind = written[budget.parameter].keys, written[budget.parameter].kind
        if isinstance(kind, Choice):
            remedy = "write `uniform: [low, high]`, `log_uniform` or `int`, or take another sampler"
            received = f"`choice: {show(list(kind.values))}`"
            problems.append(sweep.diagnostic(keys, f"must be a range with the sampler `{NAME}`", received, remedy))
        if budget.sense == "equals" and len(budget.constraints) > 1:
            remedy = "write `constraints.[*].equals`, one parameter for each"
            rule = f"must set one constraint with the sampler `{NAME}`"
            problems.append(sweep.diagnostic(keys[:2], rule, f"{len(budget.constraints)} equalities", remedy))
    if recipe.dual.rule == "fixed":
        remedy = "write a dual rule that moves the multipliers, such as ascent, or take another sampler"
        rule = f"must come with multipliers that answer to their budgets with the sampler `{NAME}`"
        problems.append(sweep.diagnostic(("sampler",), rule, "dual.rule: fixed", remedy))
    return problems


def check_continuation(
    sweep: OverlaidDocument, parameters: Sequence[Parameter], budgets: Sequence[Budget], recipe: Recipe, steps: int | None
) -> list[Diagnostic]:
    """Where no trial has a neighbour, or none with multipliers to start from, and `steps` that save nothing."""
    problems = []
    if not budgets or not all(each.is_range for each in budgets):
        received = f"only {', '.join(f'`{each.name}`' for each in parameters)}"
        remedy = "search e.g. `constraints.[*].at_most: {uniform: [0.08, 0.25]}`, or drop it"
        problems.append(sweep.diagnostic(("continuation",), "must go with a search over a constraint's budget", received, remedy))
    if any(each.sense == "equals" and len(each.constraints) > 1 for each in budgets):
        rule, remedy = "must go with budgets of one equality each", "write `constraints.[*].equals`, or drop it"
        problems.append(sweep.diagnostic(("continuation",), rule, "equalities that share one", remedy))
    if recipe.dual.rule == "fixed":
        rule, remedy = "must come with multipliers that answer to their budgets", "write a dual rule that moves them, or drop it"
        problems.append(sweep.diagnostic(("continuation",), rule, "dual.rule: fixed", remedy))
    if steps is not None and any(each.name == "train.steps" for each in parameters):
        remedy = "drop it, then continued trials take a third of their own, or fix train.steps"
        problems.append(
            sweep.diagnostic(("continuation", "steps"), "must be left out where train.steps is searched", str(steps), remedy)
        )
    elif steps is not None and steps >= recipe.train.steps:
        received, remedy = f"{steps}, where train.steps is {recipe.train.steps}", "write fewer, or drop it for a third of them"
        problems.append(sweep.diagnostic(("continuation", "steps"), "must be fewer than a first trial's", received, remedy))
    return problems
