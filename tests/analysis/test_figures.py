"""The figures: whole, small enough, and safe with hostile text."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.path import Path as MarkerPath
from PIL import Image

from dualsweep.analysis.columns import columns, default_axes, view_range
from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.figures import trajectories
from dualsweep.analysis.figures.canvas import png_bytes
from dualsweep.analysis.figures.front_html import base_url_of, front_html
from dualsweep.analysis.figures.front_png import front_png, marker_path
from dualsweep.analysis.figures.marks import MARKS, kinds, on_front
from dualsweep.analysis.figures.trajectories import trajectories_png
from dualsweep.analysis.figures.trial_columns import rounded
from dualsweep.analysis.front import find_front
from dualsweep.analysis.trials import Direction, SweepRecord
from tests.analysis.made_up import HOSTILE, made_up_sweep
from tests.analysis.page import listed, own, packed_in, payload

THREE: dict[str, Direction] = {"objective": "minimize", "value/max": "minimize", "eval/fid": "maximize"}


def page(record: SweepRecord) -> str:
    return front_html(record, find_front(record), hypervolume=0.5, reference_point=[1.0] * len(record.objectives), history=())


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_the_page_holds_every_trial_and_needs_no_network() -> None:
    record = made_up_sweep(40)
    html = page(record)
    loaded = payload(html)
    assert own(html, "id") == [trial.trial_id for trial in record.trials] and len(record.trials) == 40
    assert not re.search(r"""(?:src|href)=["']https?://(?!127\.0\.0\.1:5000/#)""", html)
    keys = [column["key"] for column in loaded["columns"]]
    assert keys[:2] == ["objective", "value/max"]
    assert {"multiplier/four", "slack/five", "value/seven", "eval/fid", "worst slack", "param:dual.step_size"} <= set(keys)


def test_the_page_knows_intervals_lineage_stopped_trials_and_names() -> None:
    record = made_up_sweep(14)
    first, second, third, *rest = record.trials
    second = replace(second, continued_from=first.trial_id, intervals={"objective": 0.01, "value/four": math.nan})
    record = replace(record, trials=(first, second, replace(third, status="stopped", standing=None), *rest))
    html = front_html(
        record, find_front(record), hypervolume=None, reference_point=None, history=(), named={"0001": ["knee"]},
        thumbnails={"0000": "data:image/webp;base64,AA=="},
    )  # fmt: skip
    loaded = payload(html)
    assert own(html, "continued_from")[:2] == [None, "0000"] and own(html, "kind")[2] == "stopped"
    intervals = loaded["trials"]["intervals"]
    assert listed(loaded, intervals["objective"])[:3] == [0.00098, 0.01, 0.00098] and loaded["trials"]["marks"] == {"1": ["knee"]}
    assert loaded["thumbnails"] == {"0000": "data:image/webp;base64,AA=="}
    assert [(band["budget"], band["through"]) for band in loaded["bands"]] == [(0, None)]
    axes = ["param:constraints.*.at_most", "value/max"]
    assert loaded["budgets"] == [{"constraints": ["four", "five", "seven"], "axes": axes}]
    assert loaded["parallel"][-2:] == ["objective", "value/max"]


def test_the_page_of_a_thousand_trials_is_small() -> None:
    html = page(made_up_sweep(1000))
    assert len(packed_in(html)) <= 250 * 1000 and len(html.encode()) <= 900_000


def test_the_page_holds_numbers_as_exactly_as_they_are_shown() -> None:
    """To four digits in tables, and apart in figures where they differ by a ten thousandth of what they span."""
    near = [1000.0 + step * 1e-6 for step in range(1000)]
    assert np.diff([value for value in rounded(near) if value is not None]) == pytest.approx(1e-6, abs=2e-8)
    for values in (near, [0.123456789, -1e-9, math.nan, 98765.4321], [0.5], [0.0, 0.0], [-1.7e308, 1.7e308], [math.nan]):
        for told, exact in zip(rounded(values), values, strict=True):
            assert (told is None) == math.isnan(exact)
            assert told is None or told == pytest.approx(exact, rel=5.1e-5, abs=0)


def test_the_page_says_constraints_of_trials_that_have_other_ones() -> None:
    first, second, *rest = made_up_sweep(12).trials
    second = replace(second, constraints=second.constraints[:1], params={"dual.step_size": 3, "else": "a"})
    record = replace(made_up_sweep(12), trials=(first, second, *rest))
    loaded = payload(page(record))
    names = [outcome.name for outcome in first.constraints]
    told = {name: {key: listed(loaded, each) for key, each in loaded["trials"]["constraints"][name].items()} for name in names}
    assert told[names[1]]["relation"][1] is None and told[names[0]]["relation"][1] == "≤"
    for place, outcome in enumerate(first.constraints):
        assert told[names[place]]["multiplier"][0] == pytest.approx(outcome.multiplier, rel=5.1e-5)
        assert told[names[place]]["slack_error"][0] == pytest.approx(outcome.slack_error, rel=5.1e-5)
    assert listed(loaded, loaded["trials"]["params"]["dual.step_size"])[1] == "3"
    assert listed(loaded, loaded["trials"]["params"]["else"])[:2] == [None, "a"]


def test_what_a_trial_says_stays_text() -> None:
    record = made_up_sweep(20)
    # Hostile text everywhere a user's text can stand, on the front too.
    hostile = tuple(
        replace(
            trial,
            reason=HOSTILE,
            params={HOSTILE: HOSTILE, "@@SCRIPT@@": "@@"},
            constraints=tuple(replace(outcome, name=HOSTILE) for outcome in trial.constraints[:1]),
        )
        for trial in record.trials
    )
    html = page(replace(record, experiment_name=HOSTILE, trials=hostile))
    assert "<script>window.hacked" not in html and "<b>bold" not in html
    assert html.count("<script") == 3 and html.count("</script>") == 3
    assert own(html, "reason") == [HOSTILE] * 20


@pytest.mark.parametrize("objectives", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_page_and_the_picture_of_few_or_no_trials(count: int, objectives: int) -> None:
    record = made_up_sweep(count, objectives=dict(list(THREE.items())[:objectives]))
    loaded = payload(page(record))
    assert set(loaded["axes"]) <= {column["key"] for column in loaded["columns"]}
    assert count or "No trial of the sweep has ended yet, so there is no front." in page(record)
    assert pixels(front_png(record, find_front(record))).std() > 1


@pytest.mark.parametrize(
    ("objectives", "size"),
    [
        (dict(list(THREE.items())[:1]), (1152, 806)),
        (dict(list(THREE.items())[:2]), (1152, 806)),
        (THREE, (1900, 676)),
        ({**THREE, "slack/four": "maximize"}, (1900, 1252)),
    ],
)
def test_the_picture_has_its_size_and_shows_the_front(objectives: Mapping[str, Direction], size: tuple[int, int]) -> None:
    record = made_up_sweep(40, objectives=objectives)
    image = pixels(front_png(record, find_front(record)))
    assert (image.shape[1], image.shape[0]) == size
    colour = [int(MARKS["front"].colour[place : place + 2], 16) for place in (1, 3, 5)]
    assert int((np.abs(image - colour).sum(axis=2) < 12).sum()) > 100


def test_marks_differ_in_shape_and_in_grey() -> None:
    assert len({mark.marker for mark in MARKS.values()}) == len({mark.symbol for mark in MARKS.values()}) == len(MARKS)

    def grey(colour: str) -> float:
        red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
        return 0.299 * red + 0.587 * green + 0.114 * blue

    front = grey(MARKS["front"].colour)
    assert all(grey(mark.colour) - front > 40 for name, mark in MARKS.items() if not on_front(name))


def test_only_what_is_on_the_front_is_drawn_as_a_diamond() -> None:
    for name, mark in MARKS.items():
        path = marker_path(mark.marker)
        shape = ("diamond" if path == "D" else path) if isinstance(path, str) else _shape(path)
        assert (shape == "diamond") == on_front(name), name


def _shape(path: MarkerPath) -> str:
    """Of the outline, which comes first: by its corners, of which a circle's are points of its arcs."""
    corners = len(np.unique(np.asarray(path.to_polygons()[0], dtype=np.float64).round(6), axis=0))
    return {4: "diamond", 5: "pentagon"}.get(corners, "circle")


def test_a_far_outlier_leaves_the_first_view_but_the_front_never_does() -> None:
    record = made_up_sweep(40)  # its diverged trials have an objective of 40
    front = find_front(record)
    objective = columns(record)[0]
    limits = view_range(objective, record, front)
    assert limits is not None and max(v for v in objective.values if math.isfinite(v)) == 40 and limits[1] < 1
    lonely = replace(
        record, trials=(*record.trials, replace(record.trials[0], trial_id="z", metrics={"objective": -99.0, "value/max": 0.2}))
    )
    limits = view_range(columns(lonely)[0], lonely, find_front(lonely))
    assert limits is not None and limits[0] < -99


def test_the_picture_has_bars_at_what_is_on_the_front_and_tied_with_it() -> None:
    """Ink of the same picture without the errors of one trial: it has bars where it is on the front or tied, and only there."""
    record = made_up_sweep(40)
    front = find_front(record)
    dominated = next(trial for trial, kind in zip(record.trials, kinds(record, front), strict=True) if kind == "feasible")
    for trial, barred in ((front.trials[0], True), (dominated, False)):
        exact = replace(trial, metrics={key: value for key, value in trial.metrics.items() if "_error" not in key})
        bare = replace(record, trials=tuple(exact if each is trial else each for each in record.trials))
        assert (pixels(front_png(record, front)) != pixels(front_png(bare, front))).any() == barred


def test_axes_of_the_first_view() -> None:
    record = made_up_sweep(5)
    assert default_axes(record, columns(record)) == ("objective", "value/max")
    one = replace(record, objectives={"objective": "minimize"})
    assert default_axes(one, columns(one)) == ("worst slack", "objective")


def test_links_follow_the_tracking_uri() -> None:
    assert base_url_of("https://mlflow.example.org/team/") == "https://mlflow.example.org/team"
    assert base_url_of("sqlite:///mlflow.db") == "http://127.0.0.1:5000"


def test_trajectories_are_drawn_with_gaps_and_with_many_constraints() -> None:
    history = [(step, math.sin(step / 10)) for step in range(50)] + [(50, math.nan), (51, math.inf)]
    few = trajectories_png({"four": history}, {"four": history}, title="trial 0007")
    many = trajectories_png({f"c{i}": history for i in range(30)}, {f"c{i}": history for i in range(30)})
    for png in (few, many):
        image = pixels(png)
        assert image.shape[:2] == (806, 1152) and image.std() > 5
    assert pixels(trajectories_png({}, {"four": [(0, 0.1)]})).std() > 3
    with pytest.raises(ReviewError, match="at least one"):
        trajectories_png({"four": []}, {})


def test_of_many_constraints_an_equality_that_is_missed_by_far_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = list[Figure]()

    def kept(figure: Figure) -> bytes:
        figures.append(figure)
        return png_bytes(figure)

    monkeypatch.setattr(trajectories, "png_bytes", kept)
    slacks = {"equal": [(0, 0.5)], **{f"c{i}": [(0, 0.01 * i)] for i in range(10)}}
    trajectories_png({}, slacks)
    trajectories_png({}, slacks, equalities={"equal"})
    trajectories_png({}, {"equal": [(0, 0.5)]}, equalities={"equal"})
    named = [[text.get_text() for text in figure.legends[0].get_texts()] for figure in figures]
    assert ["equal" in each for each in named] == [False, True, True]
    assert [figure.axes[1].get_ylabel() for figure in figures] == [
        "slack (≥ 0: satisfied)",
        "slack (≥ 0, of equalities 0: satisfied)",
        "slack (0: satisfied)",
    ]


def test_the_axis_of_an_equalitys_slack_says_that_it_is_satisfied_at_0() -> None:
    record = made_up_sweep(3)
    trials = [
        replace(trial, constraints=tuple(replace(each, equality=each.name == "four") for each in trial.constraints))
        for trial in record.trials
    ]
    labels = {each.key: each.label for each in columns(replace(record, trials=tuple(trials)))}
    assert (labels["slack/four"], labels["slack/five"]) == ("slack/four (0: satisfied)", "slack/five (≥ 0: satisfied)")


def test_text_of_users_is_drawn_as_it_is_and_never_as_mathematics() -> None:
    """`$` twice is mathematics to matplotlib, where `\\w` is an error; a label with a first `_` is left out of its legends."""
    odd = r"costs $5\w and $6 \frac{"
    history = [(step, step / 10) for step in range(5)]
    record = made_up_sweep(5)
    failed = tuple(replace(trial, status="failed", reason=odd, standing=None) for trial in record.trials)
    record = replace(record, experiment_name=odd, trials=failed)
    assert pixels(front_png(record, find_front(record))).std() > 1
    assert pixels(trajectories_png({odd: history}, {odd: history}, title=odd)).std() > 3
    plain, hidden = (trajectories_png({name: history}, {name: history}) for name in ("x", "_x"))
    below = [pixels(png)[-60:].std() for png in (plain, hidden)]
    assert below[1] == pytest.approx(below[0], rel=0.3), "the legend, below the axes"
