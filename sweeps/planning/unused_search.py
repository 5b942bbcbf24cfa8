"""Searched keys that no trial makes use of: a sweep of them alone trains the same recipe time after time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

from dualsweep.sweeps.planning.kinds import Choice
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.trainer.checks.unused_keys import is_unused, unused_keys
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError

#: Corners of the search space that are asked at most; above this number only written-out choices vary.
_CORNERS = 256


def search_warnings(plan: Plan) -> Iterator[Diagnostic]:
    """The entries of `search` that every corner of it ignores, at their lines; one that some corner uses has its purpose."""
    ignored = {each.name: each.written for each in plan.parameters}
    for params in _corners(plan):
        if not ignored:
            return
        try:
            unused = unused_keys(plan.trial_recipe(params))
        except InputError:  # a corner that `search.resolve` did not try: nobody knows
            return
        ignored = {name: written for name, written in ignored.items() if is_unused(name, unused)}
    for written in dict.fromkeys(ignored.values()):
        rule, remedy = "should be of use to the recipe", f"drop it, or fix it: `--set search.{written.key}=null`"
        yield plan.document.diagnostic(
            ("search", written.key), rule, "a key which it ignores, so that trials do not differ by it", remedy
        )


def _corners(plan: Plan) -> Iterator[Mapping[str, Any]]:
    """The ends of all parameters together, as far as they are few enough; where even the choices are too many, none."""
    ends = [each.kind.ends for each in plan.parameters]
    if math.prod(map(len, ends)) > _CORNERS:
        ends = [each.kind.ends if isinstance(each.kind, Choice) else each.kind.ends[-1:] for each in plan.parameters]
    names = [each.name for each in plan.parameters]
    few = math.prod(map(len, ends)) <= _CORNERS
    corners = itertools.product(*ends) if few else iter(())
    return (dict(zip(names, corner, strict=True)) for corner in corners)
