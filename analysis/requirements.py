"""Whose budget is it: which constraints decide what may be on a sweep's front.

A budget that is searched is a knob, not a requirement: it is varied to trace the front. Where the value that it bounds is itself
an objective of the front, a trial that missed the budget it was given, but attained a value that nobody else has, is a valid
point of the *attained* front; only budgets that are not searched decide then. Where some searched budget bounds what no objective
shows, a trial that missed it would look better than it is: then all budgets decide, as everywhere else.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping

from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.trials import Budget, Trial
from dualsweep.trainer import metric_names
from dualsweep.trainer.recipe.bound import Kind

TAG = "dualsweep.required"


def required(kinds: Mapping[str, Kind | None], searched: Collection[str], objectives: Collection[str]) -> frozenset[str] | None:
    """The constraints whose budgets decide what may be on the front; None where all do.

    `kinds` are all constraints with what they ask, None where it is not known; the budgets of those that are `searched` vary.
    """
    hidden = unseen(kinds, searched, objectives)
    return None if hidden or not searched else frozenset(kinds) - frozenset(searched)


def unseen(kinds: Mapping[str, Kind | None], searched: Collection[str], objectives: Collection[str]) -> tuple[str, ...]:
    """The searched constraints whose values no objective shows.

    `value/NAME` shows one; `value/max` shows all, where it is the largest value of those that are searched and of no others,
    each bounded from above.
    """
    bounded = all(kinds[name] in ("at_most", None) for name in searched)
    if metric_names.LARGEST_VALUE in objectives and set(kinds) <= set(searched) and bounded:
        return ()
    return tuple(name for name in kinds if name in searched and metric_names.value(name) not in objectives)


def required_of(trials: Iterable[Trial], budgets: Iterable[Budget], objectives: Collection[str]) -> frozenset[str] | None:
    """The constraints that decide the front of a sweep that did not record them, from its trials' and its searched budgets."""
    kinds = {each.name: each.kind for trial in trials for each in trial.constraints}
    searched = {name for budget in budgets for name in budget.constraints if name in kinds}
    return required(kinds, searched, objectives)


def write_required(names: frozenset[str] | None) -> str:
    """The tag's text: a JSON list of names, or null where all budgets decide."""
    return json.dumps(None if names is None else sorted(names))


def read_required(text: str, run_id: str) -> frozenset[str] | None:
    """Read the tag.

    Raises:
        ReviewError: it is neither.
    """
    try:
        parsed = json.loads(text)
    except json.JSONDecodeError:
        parsed = text
    if parsed is None:
        return None
    if not isinstance(parsed, list) or not all(isinstance(each, str) for each in parsed):
        raise ReviewError(
            f"The tag {TAG} of run {run_id} must be a JSON list of constraints' names, or null where all budgets decide, but got "
            f"{text!r}. Correct or delete the tag."
        )
    return frozenset(parsed)
