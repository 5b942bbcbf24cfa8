"""What must stay the same when a sweep is continued: trials of different problems do not belong in one study."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.studies.defaults import defaults_of_0_1
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.wording import show

#: These place, name or save a run; changing them changes no result.
_FREE = {"name", "resources", "checkpoint"}


def fingerprint(plan: Plan) -> dict[str, Any]:
    """The parts of a plan that its trials depend on, as plain data.

    The number of trials, the concurrency, resources and tracking are not among them, so a sweep can be made longer or
    moved. Defaults are left out, so that a later version may add keys.
    """
    continuation = plan.sweep.continuation
    parts = {
        "search": {each.name: {each.kind.word: list(each.kind.ends)} for each in plan.parameters},
        "objectives": dict(plan.objectives),
        "sampler": {"name": plan.sweep.sampler.name, "seed": plan.sweep.sampler.seed},
        "continuation": continuation and continuation.model_dump(mode="json", exclude_defaults=True),
        "recipe": plan.recipe.model_dump(mode="json", exclude=_FREE, exclude_defaults=True),
    }
    later = {
        "seeds": plan.sweep.seeds,
        "points": plan.sweep.points,
        "warm_start": [masked(each.name) for each in plan.sweep.warm_start],
    }
    parts |= {name: value for name, value in later.items() if value not in (1, [])}
    plain: dict[str, Any] = json.loads(json.dumps(parts, default=str))
    return plain


def check_unchanged(plan: Plan, kept: Mapping[str, Any], defaults: Mapping[str, Any] | None) -> None:
    """Compares a plan with the fingerprint of the one its study was begun with.

    What the recipe left out then may be written as the `defaults` of then, by their dotted names; None for those of 0.1.

    Raises:
        InputError: with one problem for each part that differs.
    """
    now, known = fingerprint(plan), defaults_of_0_1(plan) if defaults is None else defaults
    problems = []
    for part in dict.fromkeys([*now, *kept]):
        before, after = _flat(kept.get(part), (part,)), _flat(now.get(part), (part,))
        after = {keys: each for keys, each in after.items() if keys in before or not _was_default(keys, each, known)}
        if before != after or (part == "objectives" and list(kept[part]) != list(now[part])):
            keys = next((keys for keys in [*after, *before] if before.get(keys) != after.get(keys)), None)
            if keys is not None:
                problems.append(_problem(plan, keys, before.get(keys), after.get(keys)))
            else:
                problems.append(_problem(plan, (part,), list(kept[part]), list(now[part])))
    if problems:
        raise InputError(problems)


def _was_default(keys: tuple[str | int, ...], value: Any, defaults: Mapping[str, Any]) -> bool:
    name = ".".join(map(str, keys[1:]))
    return keys[0] == "recipe" and name in defaults and defaults[name] == value


def _flat(value: Any, keys: tuple[str | int, ...]) -> dict[tuple[str | int, ...], Any]:
    if isinstance(value, dict) and value:
        return {at: each for key, below in value.items() for at, each in _flat(below, (*keys, key)).items()}
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        return {at: each for key, below in enumerate(value) for at, each in _flat(below, (*keys, key)).items()}
    return {keys: value}


def _problem(plan: Plan, keys: tuple[str | int, ...], before: Any, after: Any) -> Diagnostic:
    rule, remedy = "must stay as it was when this sweep began", "put it back, or give another `--output`"
    received = f"{_shown(after)}, where it was {_shown(before)}"
    if keys[0] == "recipe":
        return plan.recipe_document.diagnostic(keys[1:], rule, received, remedy)
    return plan.document.diagnostic(keys, rule, received, remedy)


def _shown(value: Any) -> str:
    return "nothing" if value is None else show(value)
