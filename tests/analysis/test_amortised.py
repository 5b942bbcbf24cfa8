"""The amortised front beside separate trials: which points are drawn, and how far the two are apart where that is known."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from mlflow import MlflowClient

from dualsweep.analysis.amortised import direction_of, gap, line, read_amortised, sentence
from dualsweep.analysis.description import describe
from dualsweep.analysis.figures.front_html import front_html
from dualsweep.analysis.figures.front_png import front_png
from dualsweep.analysis.front import find_front
from dualsweep.analysis.trials import SweepRecord, Trial
from dualsweep.trainer.amortised.front import AmortisedFront, FrontPoint
from dualsweep.trainer.amortised.spread import MultiplierRange
from dualsweep.trainer.dual.problem import ConstrainedProblem
from tests.analysis.page import text_in
from tests.stores import empty_store


def tilted(kind: str = "at_most") -> AmortisedFront:
    """f = lambda^2 / 2, g = -lambda: P*(b) = b^2 / 2 for b in [-2, 0]; as `at_least`, a reward of lambda."""
    sign = -1.0 if kind == "at_least" else 1.0
    problem = ConstrainedProblem(("a",), np.array([-0.5 * sign]), np.zeros(1, dtype=np.bool_), (kind,))  # type: ignore[arg-type]
    spread = MultiplierRange(problem, np.array([0.003]), np.array([2.0]), 0.1, 0)
    points = [
        FrontPoint({"a": each}, each**2 / 2, 0.001, {"a": -sign * each}, {"a": 0.001})
        for each in spread.measured(17)[:, 0].tolist()
    ]
    return AmortisedFront.of(spread, points, 300)


def trial(number: int, value: float, objective: float, status: str = "converged") -> Trial:
    metrics = {"objective": objective, "value/a": value, "value/max": value, "slack/a": 0.1, "budget/a": value + 0.1}
    return Trial(f"{number:04d}", "", status, metrics=metrics, standing="met" if status == "converged" else "violated")


def record(*trials: Trial, front: AmortisedFront | None = None) -> SweepRecord:
    return SweepRecord("1", "sweep", "0" * 32, {"objective": "minimize", "value/max": "minimize"}, None, trials, amortised=front)


def test_the_gap_is_at_equal_values_and_in_parts_of_the_fronts_range():
    """Separate trials 0.1 below and 0.02 above b^2 / 2, whose range is 2; one is beyond the multipliers' range, one diverged."""
    front_gap = gap(
        record(
            trial(0, -1.0, 0.4), trial(1, -0.5, 0.145), trial(2, -3.0, 0.1), trial(3, -1.0, -9.0, "diverged"), front=tilted()
        )
    )  # fmt: skip
    assert front_gap is not None and (front_gap.trial.trial_id, front_gap.compared, front_gap.judged) == ("0000", 2, 3)
    assert front_gap.worst == pytest.approx(0.05, abs=0.002) and front_gap.mean == pytest.approx(0.02, abs=0.002)


def test_rewards_that_are_at_least_are_read_in_their_own_sense():
    found = gap(record(trial(0, 1.0, 0.4), front=tilted("at_least")))
    assert found is not None and found.worst == pytest.approx(0.05, abs=0.002)


@pytest.mark.parametrize(
    ("trials", "said"),
    [
        ([trial(0, -1.0, 0.4)], "at most 5"),
        ([trial(0, -1.0, 0.6)], "better than separate training throughout, by at least 5"),
        ([trial(0, -5.0, 0.6)], "no trial is within its range"),
        ([], "no trial is within its range"),
    ],
)
def test_what_is_said_of_it(trials, said):
    sweep = record(*trials, front=tilted())
    assert sentence(sweep).startswith("Amortised front: 17 points of one network after 300 steps; ") and said in sentence(sweep)
    assert sentence(sweep)[:15] in describe(sweep, find_front(sweep), hypervolume=None, reference_point=None)
    assert sentence(record(*trials)) == "" and gap(record(*trials)) is None


def test_the_line_is_what_no_other_point_dominates_on_the_axes():
    front = tilted()
    found = line(front, "objective", "value/max", {"objective": "minimize", "value/max": "minimize"})
    assert len(found) == 17 and (np.diff(found[:, 0]) > 0).all() and (np.diff(found[:, 1]) < 0).all()
    worse = replace(front.points[5], objective=9.0)
    shorter = replace(front, points=(*front.points[:5], worse, *front.points[6:]))
    assert len(line(shorter, "objective", "value/a", {})) == 16
    assert len(line(tilted("at_least"), "objective", "value/a", {})) == 17  # more reward is better
    assert line(front, "objective", "eval/frechet", {}).shape == (0, 2)


def test_the_page_has_every_point_and_knows_what_is_better():
    for front, better in ((tilted(), "minimize"), (tilted("at_least"), "maximize")):
        sweep = record(trial(0, -1.0, 0.5), trial(1, -0.5, 0.15), front=front)
        assert direction_of(front, "value/a", {}) == better and direction_of(front, "objective", {}) == "minimize"
        page = text_in(front_html(sweep, find_front(sweep), hypervolume=None, reference_point=None, history=(0.0, 0.0)))
        assert json.dumps(float(f"{front.points[3].metrics['objective']:.7g}")) in page


def test_the_line_is_in_the_picture():
    trials = [trial(0, -1.0, 0.5), trial(1, -0.5, 0.15)]
    with_line, without = (record(*trials, front=each) for each in (tilted(), None))
    pictures = []
    for each in (with_line, without):
        png = front_png(each, find_front(each))
        pictures.append(matplotlib.image.imread(io.BytesIO(png)))
    colour = np.array([0x0F, 0x76, 0x6E]) / 255
    counts = [int((np.abs(picture[..., :3] - colour).max(axis=2) < 0.05).sum()) for picture in pictures]
    assert counts[0] > 200 and counts[1] == 0


def test_the_front_of_the_newest_training_that_has_one_is_read(tmp_path: Path) -> None:
    client = MlflowClient(empty_store(tmp_path))
    experiment = client.create_experiment("a", artifact_location=(tmp_path / "artifacts").as_uri())
    runs = [client.create_run(experiment) for _ in range(3)]
    for run, steps in zip(runs[:2], (1, 2), strict=True):
        text = json.dumps(replace(tilted(), steps=steps).to_json())
        client.log_text(run.info.run_id, text, "amortised.json")
    read = read_amortised(client, runs)
    assert read is not None and read.steps == 2 and len(read.points) == 17
    assert read_amortised(client, runs[2:]) is None and read_amortised(client, []) is None
    client.log_text(runs[2].info.run_id, "{}", "amortised.json")
    again = read_amortised(client, runs)
    assert again is not None and again.steps == 2, "what is no front is passed over"
