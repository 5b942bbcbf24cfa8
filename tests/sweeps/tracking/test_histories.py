"""What trajectories are drawn from."""

from __future__ import annotations

from dualsweep.sweeps.tracking.histories import histories
from dualsweep.trainer.metric_point import MetricPoint


def test_trajectories_end_with_the_last_step_of_training() -> None:
    """The final evaluation stands at the same step, of other weights: a vertical tick."""
    points = [MetricPoint(step, {"multiplier/four": step / 10, "slack/four": -0.1}) for step in (5, 10)]
    final = MetricPoint(10, {"multiplier/four": 0.7, "slack/four": 0.02, "system/seconds": 3.0}, final=True)
    assert histories([*points, final]) == ({"four": [(5, 0.5), (10, 1.0)]}, {"four": [(5, -0.1), (10, -0.1)]})
    assert histories([final]) == ({"four": [(10, 0.7)]}, {"four": [(10, 0.02)]})
