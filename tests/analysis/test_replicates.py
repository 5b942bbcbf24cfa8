"""Trials that are several trainings: their intervals and the probability of feasibility wherever the front is shown."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from dualsweep.analysis.columns import columns
from dualsweep.analysis.description import describe
from dualsweep.analysis.figures.front_png import _draw
from dualsweep.analysis.front import find_front
from dualsweep.analysis.judging import split_intervals
from dualsweep.analysis.prices.shadow import Prices
from dualsweep.analysis.recommendation.recommend import recommend
from dualsweep.analysis.spreadsheet import write_trials
from dualsweep.analysis.trials import SweepRecord
from tests.analysis.made_up import front_text, made_up_sweep


def replicated(half: float = 0.004) -> SweepRecord:
    plain = made_up_sweep(9)
    trials = (
        replace(each, replicates=3, intervals={"objective": half, "value/max": half, "slack/four": half}, feasibility=0.875)
        for each in plain.trials
    )
    return replace(plain, trials=tuple(trials))


def test_intervals_are_told_from_metrics() -> None:
    metrics = {"objective": 1.0, "interval/objective": 0.1, "interval/value/max": 0.2, "value/max": 2.0}
    assert split_intervals(metrics) == ({"objective": 1.0, "value/max": 2.0}, {"objective": 0.1, "value/max": 0.2})


def test_table_and_description_show_them_and_leave_single_trainings_alone() -> None:
    record = replicated()
    front = find_front(record)
    text = front_text(record, front, width=200)
    assert "P(feasible)" in text and text.count("88%") == len(front.trials) and "±0.004" in text
    page = describe(record, front, hypervolume=None, reference_point=None)
    assert page.count("±0.004") == 2 * len(front.trials) and "half of a 95 % interval" in page and "88%" in page
    plain = made_up_sweep(9)
    assert "P(feasible)" not in front_text(plain, find_front(plain)) + describe(
        plain, find_front(plain), hypervolume=None, reference_point=None
    )


def test_the_spreadsheet_has_them_in_full(tmp_path: Path) -> None:
    record = replicated()
    write_trials(tmp_path / "trials.csv", record, find_front(record), Prices(), recommend(record, find_front(record)))
    rows = list(csv.DictReader((tmp_path / "trials.csv").open()))
    assert {(row["replicates"], row["feasibility"], row["interval/objective"], row["interval/slack/four"]) for row in rows} == {
        ("3", "0.875", "0.004", "0.004")
    }
    assert rows[0]["interval/slack/five"] == ""


def test_the_picture_has_bars_as_long_as_the_intervals() -> None:
    for half in (0.004, 0.008):
        record = replicated(half)
        by_key = {column.key: column for column in columns(record)}
        axes = Figure().add_subplot()
        _draw(axes, record, find_front(record), by_key["objective"], by_key["value/max"])
        bars = [bar for drawn in axes.collections if isinstance(drawn, LineCollection) for bar in drawn.get_segments()]
        lengths = [float(np.abs(bar[1] - bar[0]).sum()) for bar in map(np.asarray, bars)]
        assert lengths == pytest.approx([2 * half] * (2 * len(record.trials)))
