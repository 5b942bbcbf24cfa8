"""Budgets stand in a tag of their run, and are read from there as from the metrics of before."""

from __future__ import annotations

import math

import pytest

from dualsweep.analysis.bounds import bounds_in, bounds_tag
from dualsweep.analysis.errors import ReviewError


def test_what_is_written_is_read() -> None:
    metrics = {"budget/four": 0.12, "budget/größe": -1e300, "value/four": 0.1, "budget/x": math.inf}
    read = bounds_in(bounds_tag(metrics), "r")
    assert read == {name: value for name, value in metrics.items() if name.startswith("budget/")}
    assert bounds_tag({"objective": 1.0}) == {} and bounds_in({}, "r") == {}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": "b"}', '{"a": null}', "3"])
def test_another_tag_is_told_by_its_run(text: str) -> None:
    with pytest.raises(ReviewError, match=r"The tag dualsweep\.bounds of run abc must be a JSON object"):
        bounds_in({"dualsweep.bounds": text}, "abc")
