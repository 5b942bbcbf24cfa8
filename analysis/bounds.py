"""The budgets of a run's constraints, in MLflow as a tag of the run: a metric that does not change would be a chart of nothing.

Runs of 0.1 have them as metrics `budget/NAME`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from dualsweep.analysis.errors import ReviewError
from dualsweep.trainer import metric_names

TAG = "dualsweep.bounds"


def bounds_tag(metrics: Mapping[str, float]) -> dict[str, str]:
    """The tag for a point's metrics, `{"four": 0.12}` as JSON; none where they have no budget."""
    start = metric_names.BUDGET
    bounds = {name.removeprefix(start): value for name, value in metrics.items() if name.startswith(start)}
    return {TAG: json.dumps(bounds)} if bounds else {}


def bounds_in(tags: Mapping[str, str], run_id: str) -> dict[str, float]:
    """The budgets by their metrics' names, `budget/four`; empty of a run without the tag.

    Raises:
        ReviewError: the tag holds something else.
    """
    text = tags.get(TAG, "{}")
    try:
        return {metric_names.budget(str(name)): float(value) for name, value in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError):
        raise ReviewError(
            f"The tag {TAG} of run {run_id} must be a JSON object of constraints and their budgets, but got {text!r}. "
            "Correct the tag in MLflow, or delete the run."
        ) from None
