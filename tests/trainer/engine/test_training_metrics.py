"""Means of metrics over the dual steps since the last point, of which some lack a value; and windows of before."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from dualsweep.trainer.dual.problem import ConstrainedProblem
from dualsweep.trainer.dual.state import DualState, pack
from dualsweep.trainer.engine.training_metrics import MetricWindow, point

PROBLEM = ConstrainedProblem(("a", "b"), np.array([0.5, 0.02]), np.array([False, True]))
ZEROS = np.zeros(2)
NAN = float("nan")


def window(*means: list[float]) -> tuple[MetricWindow, DualState]:
    """After dual steps with these means [3]; slacks that are known have errors of 0.1."""
    made, state = MetricWindow.empty(2), DualState.beginning(PROBLEM, ZEROS, ZEROS)
    for each in means:
        state = replace(state, means=np.array(each), errors=np.where(np.isnan(each[1:]), NAN, 0.1))
        made = made.add(PROBLEM, state)
    return made, state


def test_steps_that_have_all_values_are_averaged_with_the_scatter_of_their_slacks() -> None:
    made, state = window([1.0, 0.4, 1.1], [2.0, 0.6, 2.5])
    metrics = made.metrics(PROBLEM, state)
    wanted = point(PROBLEM, np.array([1.5, 0.5, 1.8]), np.array([0.1, 0.2]), ZEROS)
    assert metrics == pytest.approx(wanted | {"multiplier/a": 0.0, "multiplier/b": 0.0})


def test_what_a_step_lacks_is_left_out_of_its_own_mean_alone() -> None:
    made, state = window([1.0, 0.4, NAN], [2.0, NAN, 2.5], [3.0, 0.8, NAN])
    metrics = made.metrics(PROBLEM, state)
    assert metrics["objective"] == pytest.approx(2.0)
    assert metrics["value/a"] == pytest.approx(0.6) and metrics["slack/a"] == pytest.approx(-0.1)
    assert metrics["slack_error/a"] == pytest.approx(0.2)  # of 0.1 and -0.3
    assert metrics["value/b"] == pytest.approx(0.5)  # less the mean objective


def test_a_constraint_that_no_step_has_is_left_out_and_the_others_are_not() -> None:
    made, state = window([1.0, 0.4, NAN], [2.0, 0.6, NAN])
    metrics = made.metrics(PROBLEM, state)
    assert metrics["objective"] == pytest.approx(1.5) and metrics["value/a"] == pytest.approx(0.5)
    assert not {"value/b", "slack/b", "slack_error/b", "value/max", "lagrangian"} & set(metrics)
    assert np.isfinite(list(metrics.values())).all()
    nothing, state = window([NAN, NAN, NAN])
    assert nothing.metrics(PROBLEM, state).keys() == {"multiplier/a", "multiplier/b"}


def test_a_window_comes_back_and_one_of_before_counted_whole_steps() -> None:
    made, state = window([1.0, 0.4, 1.1], [2.0, 0.6, 2.5])
    again = MetricWindow.from_json(json.loads(json.dumps(made.to_json())))
    assert again.metrics(PROBLEM, state) == made.metrics(PROBLEM, state)
    old = {"steps": pack(2), **{name: pack(getattr(made, name)) for name in ("means", "slacks", "squares")}}
    assert MetricWindow.from_json(json.loads(json.dumps(old))).metrics(PROBLEM, state) == made.metrics(PROBLEM, state)
