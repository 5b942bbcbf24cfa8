"""What `dualsweep sample` is asked of an amortised run: multipliers, or budgets that its stored front turns into them."""

from __future__ import annotations

import math
from dataclasses import replace

from dualsweep.trainer.config.diagnostics import Diagnostic, InputError, RuleError


def asked_multipliers(checkpoint: str, multipliers: str | None, budgets: str | None) -> dict[str, float] | None:
    """The multipliers by constraint; None where neither is asked for.

    Raises:
        InputError: both, a text that is not `NAME=VALUE,…`, no amortised run, no such constraint, a budget out of reach.
    """
    if multipliers is None and budgets is None:
        return None
    option, text = ("--multipliers", multipliers) if multipliers is not None else ("--budgets", budgets)
    if multipliers is not None and budgets is not None:
        raise _problem("--budgets", "must not stand beside --multipliers", "both", "keep one")
    requested = _read(option, str(text))
    from dualsweep.trainer.amortised.front import front_of
    from dualsweep.trainer.errors import TrainingError
    from dualsweep.trainer.models.provenance import recipe_of

    names = [each.name for each in recipe_of(checkpoint).constraints]
    if recipe_of(checkpoint).amortised is None:
        raise _problem(option, "must go with an amortised run", f"{checkpoint}, which has one set of multipliers", "drop it")
    if unknown := sorted(set(requested) - set(names)):
        raise _problem(option, f"must be of the run's constraints, {', '.join(names)}", unknown[0], "name one of them")
    if multipliers is not None:
        if negative := [name for name, value in requested.items() if value < 0]:
            raise _problem(option, "must be ≥ 0", f"{requested[negative[0]]:g} for {negative[0]}", "write 0 for none")
        return requested
    try:
        return front_of(checkpoint).multipliers_for(requested)
    except RuleError as error:
        raise InputError([_written(option, each) for each in error.diagnostics]) from None
    except TrainingError as error:
        raise _problem(option, "must go with a run that has ended", str(error), "train it to its end") from None


def _read(option: str, text: str) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not equals or not name.strip() or not math.isfinite(number):
            raise _problem(option, "must be NAME=VALUE,…", repr(part), "write e.g. four=0.3,five=0.1")
        if name.strip() in numbers:
            raise _problem(option, "must have each name once", f"`{name.strip()}` twice", "keep one of the two")
        numbers[name.strip()] = number
    return numbers


def _problem(option: str, rule: str, received: str, remedy: str) -> InputError:
    return InputError([_written(option, Diagnostic((), rule, received, remedy))])


def _written(option: str, diagnostic: Diagnostic) -> Diagnostic:
    return replace(diagnostic, keys=(option,), file="command line", line=1)
