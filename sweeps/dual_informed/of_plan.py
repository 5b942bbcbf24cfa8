"""A sweep's trials as the sampler `dual_informed` takes them: the sampler of a plan, and the outcome of a result."""

from __future__ import annotations

import math

from optuna.samplers import BaseSampler

from dualsweep.analysis.certified.fixed import Fixed, along_plane, attained_with
from dualsweep.analysis.noise import known
from dualsweep.sweeps.dual_informed.observing import Translator
from dualsweep.sweeps.dual_informed.outcome import Outcome
from dualsweep.sweeps.dual_informed.sampler import DualInformedSampler
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import SETTLED, ConstraintOutcome, Result

_TOLERANCE = 0.05
_LEAST = 0.01


def informed_sampler(plan: Plan, beside: BaseSampler) -> DualInformedSampler:
    """The sampler of a plan's budgets, with another one beside it for the other parameters."""
    chosen = plan.sweep.sampler
    return DualInformedSampler(
        plan.budgets,
        beside=beside,
        direction="maximize" if plan.recipe.maximizes else "minimize",
        base=_pretrained(plan.recipe, plan.searched),
        ideal=0.0 if _minimises_divergence(plan.recipe) else None,
        tolerance=_TOLERANCE if chosen.tolerance is None else chosen.tolerance,
        seed=chosen.seed,
    )


def outcome_of(plan: Plan, result: Result, trainings: int = 1) -> Outcome | None:
    """What a trial says of the front over the searched budgets; None where it ended without numbers, or none is searched. Its
    figures are the means over so many `trainings`.

    Constraints with a fixed budget have a price too: along the trial's own plane the objective is moved to where it would be
    with these met exactly; what was attained is the objective itself, where they hold. One that is resilient is met where its
    budget stands now, and what that cost is added (`Fixed`). A standard error that could not be
    measured counts as 0, as it does where feasibility is judged. A multiplier's error is the measured one, but at least `_LEAST`
    of the largest multiplier, since no model minimises its Lagrangian exactly; of one that was not measured it is as large as a
    run must have it to count as settled. A multiplier of 0, which the projection holds there, is exact.
    """
    searched = plan.searched
    if not searched or result.status in ("failed", "diverged", "stopped"):
        return None
    sign = -1.0 if plan.recipe.maximizes else 1.0
    fixed = [Fixed.of(each) for name, each in result.constraints.items() if name not in searched]
    bounded = {name: each for name, each in result.constraints.items() if name in searched}
    variance = known(result.objective_error) ** 2 + sum((each.multiplier * each.error) ** 2 for each in fixed)
    largest = max((abs(each.multiplier) for each in bounded.values()), default=0.0)
    attained = attained_with(fixed, sign * result.objective)
    try:
        return Outcome(
            sign * along_plane(fixed, sign * result.objective),
            {name: each.value for name, each in bounded.items()},
            {name: each.multiplier for name, each in bounded.items()},
            math.sqrt(variance),
            {name: known(each.slack_error) for name, each in bounded.items()},
            {name: _sureness(each, largest) for name, each in bounded.items()},
            sign * attained if math.isfinite(attained) else None,
            math.isfinite(attained),
            trainings,
        )
    except ValueError:  # not all of it is finite
        return None


def translator_of(plan: Plan) -> Translator:
    """Between the plan's searched budgets and the front's, budgets from a list included."""
    return Translator(plan.budgets, plan.recipe.maximizes, _pretrained(plan.recipe, plan.searched))


def _pretrained(recipe: Recipe, searched: frozenset[str]) -> Outcome | None:
    """The pretrained model as a trial for free, where its outcome is known without one: alignment by normalised rewards alone.

    Its divergence from itself is 0, and its rewards are 0 by their normalisation, as far as the samples for that tell.
    """
    objective = next((each for each in recipe.terms if each.column == 0), None)
    others = [each.term for each in recipe.terms if each.column]
    anchored = objective is not None and objective.term.anchors and objective.term.models(objective.value) == ("pretrained",)
    if not anchored or not recipe.rollout.normalize or not others or not all(each.normalised for each in others):
        return None
    names = [each.name for each in recipe.constraints]
    if set(names) != searched:  # it need not keep the budgets that are fixed
        return None
    error = 1.0 / math.sqrt(recipe.normalization_samples)
    return Outcome(0.0, dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0), value_errors=dict.fromkeys(names, error))


def _sureness(outcome: ConstraintOutcome, largest: float) -> float:
    if not outcome.multiplier:
        return 0.0
    return max(outcome.multiplier_error, _LEAST * largest) if math.isfinite(outcome.multiplier_error) else SETTLED * largest


def _minimises_divergence(recipe: Recipe) -> bool:
    return any(each.column == 0 and each.term.anchors for each in recipe.terms)
