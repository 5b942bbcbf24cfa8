"""What trajectories are drawn from."""

from __future__ import annotations

from pathlib import Path

import pytest

from dualsweep.sweeps.tracking.artifacts import draw_trajectories
from dualsweep.sweeps.tracking.histories import histories
from dualsweep.trainer.config import yaml_core
from dualsweep.trainer.metric_point import MetricPoint
from tests.sweeps.in_process import RECIPE


@pytest.mark.parametrize("kind", ["at_most", "equals"])
def test_trajectories_are_drawn_by_the_recipe_beside_them(kind: str, tmp_path: Path) -> None:
    """It tells an equality, whose slack is satisfied at 0 alone, and which the axis says."""
    (bound,) = RECIPE["constraints"]
    constraint = {key: value for key, value in bound.items() if key != "at_most"} | {kind: 0.3}
    points = [MetricPoint(step, {"multiplier/four": 0.1, "slack/four": 0.2}) for step in (5, 10)]
    (plain,) = draw_trajectories(points, "tiny", tmp_path / "plain")
    (tmp_path / "told").mkdir()
    (tmp_path / "told" / "recipe.yaml").write_text(yaml_core.write({**RECIPE, "constraints": [constraint]}))
    (told,) = draw_trajectories(points, "tiny", tmp_path / "told")
    assert (plain.read_bytes() == told.read_bytes()) == (kind == "at_most")


def test_trajectories_end_with_the_last_step_of_training() -> None:
    """The final evaluation stands at the same step, of other weights: a vertical tick."""
    points = [MetricPoint(step, {"multiplier/four": step / 10, "slack/four": -0.1}) for step in (5, 10)]
    final = MetricPoint(10, {"multiplier/four": 0.7, "slack/four": 0.02, "system/seconds": 3.0}, final=True)
    assert histories([*points, final]) == ({"four": [(5, 0.5), (10, 1.0)]}, {"four": [(5, -0.1), (10, -0.1)]})
    assert histories([final]) == ({"four": [(10, 0.7)]}, {"four": [(10, 0.02)]})
