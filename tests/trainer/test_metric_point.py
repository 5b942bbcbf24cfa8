"""Points of metrics come back as they were kept, and of files of before the final evaluation is known too."""

import json
import math

import pytest

from dualsweep.trainer.metric_point import MetricPoint


@pytest.mark.parametrize("final", [False, True])
def test_a_point_comes_back(final: bool) -> None:
    point = MetricPoint(5, {"objective": 0.1, "system/seconds": 2.0}, final, 1e9)
    assert MetricPoint.from_json(json.loads(json.dumps(point.to_json()))) == point


def test_without_the_field_the_seconds_of_the_run_tell() -> None:
    old = MetricPoint.from_json({"step": 5, "metrics": {"objective": 0.1, "system/seconds": 2.0}})
    assert old.final and math.isnan(old.time)
    assert not MetricPoint.from_json({"step": 5, "time": 1.0, "metrics": {"objective": 0.1}}).final
