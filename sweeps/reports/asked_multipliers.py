"""What `dualsweep sample` is asked of an amortised run: multipliers, or budgets that its stored front turns into them."""

from __future__ import annotations

from dualsweep.sweeps.reports.named_numbers import named_numbers, refused, written
from dualsweep.trainer.config.diagnostics import InputError, RuleError


def asked_multipliers(checkpoint: str, multipliers: str | None, budgets: str | None) -> dict[str, float] | None:
    """The multipliers by constraint; None where neither is asked for.

    Raises:
        InputError: both, a text that is not `NAME=VALUE,…`, no amortised run, no such constraint, a budget out of reach.
    """
    if multipliers is None and budgets is None:
        return None
    option, text = ("--multipliers", multipliers) if multipliers is not None else ("--budgets", budgets)
    if multipliers is not None and budgets is not None:
        raise refused("--budgets", "must not stand beside --multipliers", "both", "keep one")
    requested = named_numbers(option, str(text))
    from dualsweep.trainer.amortised.front import front_of
    from dualsweep.trainer.errors import TrainingError
    from dualsweep.trainer.models.provenance import recipe_of

    names = [each.name for each in recipe_of(checkpoint).constraints]
    if recipe_of(checkpoint).amortised is None:
        raise refused(option, "must go with an amortised run", f"{checkpoint}, which has one set of multipliers", "drop it")
    if unknown := sorted(set(requested) - set(names)):
        raise refused(option, f"must be of the run's constraints, {', '.join(names)}", unknown[0], "name one of them")
    if multipliers is not None:
        if negative := [name for name, value in requested.items() if value < 0]:
            raise refused(option, "must be ≥ 0", f"{requested[negative[0]]:g} for {negative[0]}", "write 0 for none")
        return requested
    try:
        return front_of(checkpoint).multipliers_for(requested)
    except RuleError as error:
        raise InputError([written(option, each) for each in error.diagnostics]) from None
    except TrainingError as error:
        raise refused(option, "must go with a run that has ended", str(error), "train it to its end") from None
