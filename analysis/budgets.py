"""The searched budgets as a sweep's run records them, in the tag `dualsweep.budgets`.

It is a JSON list of `{"parameter", "constraints", "sense", "low", "high", "log"}`, one for each of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.trials import Budget

_KEYS = ("parameter", "constraints", "sense", "low", "high", "log")


def read_budgets(text: str, run_id: str) -> tuple[Budget, ...]:
    """Read the tag.

    Raises:
        ReviewError: it is not such a list.
    """
    try:
        return tuple(_budget(each) for each in json.loads(text))
    except (ValueError, TypeError, KeyError):
        raise ReviewError(
            f"The tag dualsweep.budgets of run {run_id} must be a JSON list of objects with parameter, constraints, sense, low, "
            f"high and log, but got {text!r}. Correct or delete the tag."
        ) from None


def write_budgets(budgets: Sequence[Budget]) -> str:
    """Return the tag's text."""
    return json.dumps([{key: getattr(each, key) for key in _KEYS} for each in budgets])


def _budget(plain: dict[str, object]) -> Budget:
    names, low, high = plain["constraints"], plain["low"], plain["high"]
    if not isinstance(names, list) or not names or plain["sense"] not in ("at_most", "at_least", "equals"):
        raise ValueError
    ends = float(str(low)), float(str(high))
    if not all(map(math.isfinite, ends)) or not ends[0] < ends[1] or (plain["log"] and ends[0] <= 0):
        raise ValueError
    return Budget(str(plain["parameter"]), tuple(map(str, names)), plain["sense"], *ends, log=bool(plain["log"]))
