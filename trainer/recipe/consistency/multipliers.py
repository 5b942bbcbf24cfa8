"""Which bounds, starts and dual rules go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.recipe.bound import RELATIVE_LIMIT
from dualsweep.trainer.recipe.consistency.bounds import check_bounds
from dualsweep.trainer.recipe.dual import ON_SIMPLEX
from dualsweep.trainer.recipe.fields import RecipeFields
from dualsweep.trainer.recipe.formulation import SHAPES
from dualsweep.trainer.recipe.model import Schedule
from dualsweep.trainer.recipe.own_part import OwnPart
from dualsweep.trainer.recipe.start import check_start

#: The fewest timesteps with which these schedules keep of unit variance at most 5 % from the start of a chain of 6 steps; the
#: others do with any number.
SHORTEST = {"linear": 400, "scaled_linear": 500, "sigmoid": 400}

#: Multipliers that were brought onto the limit sum to it but for rounding.
_ROUNDING = 1e-9


def bounds_fit_the_dual(recipe: RecipeFields) -> None:
    bounds = {constraint.name: constraint for constraint in recipe.constraints}
    check_bounds(bounds, recipe.dual, SHAPES[recipe.formulation].simplex)


def start_fits_the_dual(recipe: RecipeFields) -> None:
    if recipe.start is not None:
        bounds = {constraint.name: constraint for constraint in recipe.constraints}
        check_start(recipe.start, bounds, recipe.dual, SHAPES[recipe.formulation].simplex)


def starts_leave_the_objective_some(recipe: RecipeFields) -> None:
    """Of multipliers on losses above the objective's the objective keeps 1 - their sum; what is beyond the limit is cut off."""
    relative = [each.name for each in recipe.constraints if each.relative_to is not None]
    for key, start in _starts(recipe):
        total = sum(start.get(name, 0.0) for name in relative)
        if total > RELATIVE_LIMIT * (1 + _ROUNDING):
            raise RuleError(
                key,
                f"must sum to at most {RELATIVE_LIMIT:g} over constraints with relative_to, as the objective keeps 1 - the sum",
                f"{total:g} over {', '.join(relative)}",
                f"write {RELATIVE_LIMIT / len(relative):.2g} or less for each",
            )


def starts_are_within_the_cap(recipe: RecipeFields) -> None:
    """What is beyond the cap would be cut off at the first dual step."""
    cap = recipe.dual.cap
    if SHAPES[recipe.formulation].simplex:
        return
    for key, start in _starts(recipe):
        for name, value in start.items():
            if abs(value) > cap:
                own = key if isinstance(recipe.dual.start, float) and key == "dual.start" else f"{key}.{name}"
                raise RuleError(own, f"must be at most dual.cap, {cap:g}", f"{value:g}", "lower it, or raise the cap")


def _starts(recipe: RecipeFields) -> Iterator[tuple[str, Mapping[str, float]]]:
    """The first multipliers that a recipe gives, by constraint, each with the key where it does.

    `dual.start` gives none where another run's end is gone on from, unless they are fixed.
    """
    start = recipe.dual.start
    if recipe.start is None or recipe.dual.rule == "fixed":
        yield "dual.start", start if isinstance(start, Mapping) else {each.name: start for each in recipe.constraints}
    if recipe.start is not None:
        yield "start.multipliers", recipe.start.multipliers


def rule_fits_the_formulation(recipe: RecipeFields) -> None:
    rule, simplex = recipe.dual.rule, SHAPES[recipe.formulation].simplex
    # Weights that stay equal are the baseline of both kinds, so `fixed` goes with either.
    if isinstance(rule, OwnPart):
        return  # what it says of itself is known once it is imported: `dualsweep.trainer.checks.own_parts`
    if simplex != (rule in ON_SIMPLEX) and rule != "fixed":
        rules = " or ".join((*ON_SIMPLEX, "fixed")) if simplex else "one that is not on the simplex"
        raise RuleError("dual.rule", f"must be {rules} with the formulation {recipe.formulation}", rule, "change one")
    if rule == "newton" and not any(each.term.anchors for each in recipe.terms if each.column == 0):
        raise RuleError(
            "dual.rule",
            "must have a KL along trajectories as objective to be newton, whose Hessian is that of a tilted model",
            "another",
            "use secant",
        )


def newton_needs_a_chain_that_forgets(recipe: RecipeFields) -> None:
    """A KL along trajectories prices what the chain's noise can move, so ds/dλ is the covariance that is due to it alone."""
    if recipe.dual.rule != "newton":
        return
    if recipe.rollout.eta < 1:
        raise RuleError(
            "rollout.eta",
            "must be 1 with dual.rule newton",
            (
                f"{recipe.rollout.eta:g}: below it samples keep a part of the noise that they start from, "
                f"which no multiplier moves, so the samples' covariance is not the slope of the slacks"
            ),
            "write eta: 1.0, or dual.rule: secant, which learns the slope",
        )
    if recipe.schedule is None and recipe.leading.load is not None:
        return  # the loaded model's own: `dualsweep.trainer.checks.schedule_files.newton_faults`
    spec = recipe.schedule or Schedule()
    fewest = SHORTEST.get(spec.name or "", 0)
    if spec.timesteps < fewest:
        raise RuleError(
            "schedule.timesteps",
            f"must be at least {fewest} for {spec.name} with dual.rule newton",
            (
                f"{spec.timesteps}: it ends far from pure noise, so samples keep a part of what they start "
                f"from, which no multiplier moves, and their covariance is not the slope of the slacks"
            ),
            "raise it, write name: squaredcos_cap_v2, or dual.rule: secant",
        )


def pools_prompts(recipe: RecipeFields) -> bool:
    """Whether a constraint along trajectories is of the samples of all prompts or classes alike.

    One `among` some is 0 elsewhere: for shares well below 1 the samples' covariance is then nearly the slope.
    """
    return any(each.column and not getattr(each.value, "among", None) for each in recipe.terms_on("rollout"))


def newton_needs_one_tilted_law(recipe: RecipeFields) -> None:
    """Each prompt or class has its own tilted law, so ds/dλ is the mean over them of Cov(r | c), and the samples' is Cov(r).

    A value less the KL takes a part of the KL's own weight, by which the tilting is to be divided.
    """
    if recipe.dual.rule != "newton":
        return
    model = recipe.leading
    if (len(model.texts) > 1 or model.condition is not None) and pools_prompts(recipe):
        received = "newton with several, whose differences no multiplier moves: the samples' covariance is not the slacks' slope"
        rule = "must not be newton with several prompts or classes"
        raise RuleError("dual.rule", rule, received, "write rule: secant, which learns the slope")
    for position, constraint in enumerate(recipe.constraints):
        if constraint.relative_to is not None:
            raise RuleError(
                f"constraints.{position}.relative_to",
                "must be left out with dual.rule newton",
                "objective: the slope of a value less the KL is not a covariance of the samples",
                "drop it, or write dual.rule: secant, which learns the slope",
            )
