"""Comparisons against hypervolumes by cells and costs added up by hand, from records and from a real store."""

from __future__ import annotations

import json
import math
import random
import re
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dualsweep.analysis.comparing import Comparison, Group, compare
from dualsweep.analysis.comparison_text import markdown, notes, summary
from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.figures.compare_html import compare_html
from dualsweep.analysis.figures.compare_png import compare_png
from dualsweep.analysis.reading import read_sweep
from dualsweep.analysis.trials import Direction, SweepRecord, Trial
from tests.analysis.made_up import HOSTILE, log_parent, log_trial, new_store
from tests.analysis.test_figures import pixels
from tests.analysis.test_hypervolume import by_cells

TWO: dict[str, Direction] = {"objective": "minimize", "value/max": "minimize"}
REFERENCE = (10.0, 10.0)


def trial(
    number: int, point: tuple[float, float], *, feasible: bool = True, status: str = "converged", steps: int = 100
) -> Trial:
    metrics = dict(zip(TWO, point, strict=True)) | {"system/seconds": 2.0 * steps}
    return Trial(
        f"{number:04d}", f"{number:032x}", status, metrics=metrics,
        standing=("met" if feasible else "violated") if status == "converged" else None,
        steps=steps, batch_size=8, workers=2, seconds=1e9,
    )  # fmt: skip


def record(name: str, trials: list[Trial], sampler: str = "tpe", reference: tuple[float, ...] | None = REFERENCE) -> SweepRecord:
    return SweepRecord("1", name, f"run-{name}", TWO, reference, tuple(trials), sampler=sampler)


def drawn(name: str, sampler: str, seed: int, count: int) -> SweepRecord:
    """Random points of which some fail, are stopped or prove infeasible, and cost different numbers of steps."""
    rng = random.Random(seed)
    trials = []
    for number in range(count):
        point = (rng.uniform(0, 12), rng.uniform(0, 12))
        status = rng.choice(["converged", "converged", "converged", "failed", "stopped", "diverged"])
        trials.append(trial(number, point, feasible=rng.random() < 0.8, status=status, steps=rng.randrange(1, 200)))
    return record(name, trials, sampler)


def by_hand(sweep: SweepRecord) -> list[tuple[float, float, float]]:
    """(samples, worker-seconds, hypervolume) after each trial."""
    course, samples, seconds, points = [], 0.0, 0.0, []
    for sweep_trial in sweep.trials:
        assert sweep_trial.steps is not None
        samples, seconds = samples + 8 * sweep_trial.steps, seconds + 2 * 2.0 * sweep_trial.steps
        if sweep_trial.standing == "met":
            points.append([sweep_trial.metrics[name] for name in TWO])
        course.append((samples, seconds, by_cells(points, REFERENCE)))
    return course


@pytest.mark.parametrize("seed", range(5))
def test_volumes_and_costs_are_those_added_up_by_hand(seed: int) -> None:
    sweeps = [drawn("one", "tpe", seed, 15), drawn("two", "gp", seed + 100, 9)]
    for course, sweep in zip(compare(sweeps).courses, sweeps, strict=True):
        truth = by_hand(sweep)
        assert course.costs["trials"] == tuple(range(1, len(truth) + 1))
        assert course.costs["samples"] == pytest.approx([row[0] for row in truth])
        assert course.costs["seconds"] == pytest.approx([row[1] for row in truth])
        assert course.volumes == pytest.approx([row[2] for row in truth])
        for wanted in (0.3, 0.9, 1.0 - 1e-9, 1.1):
            volume = wanted * course.final
            hits = [row[0] for row in truth if row[2] >= volume]
            assert course.cost_of("samples", volume) == (hits[0] if hits else math.inf)
        for cost in (0.0, 7.9, 8.0, 400.0, 1e9):
            assert course.at("samples", [cost]) == pytest.approx(max([0.0, *(row[2] for row in truth if row[0] <= cost)]))


def test_a_group_is_its_least_median_and_largest_at_every_cost() -> None:
    sweeps = [drawn(f"s{seed}", "tpe" if seed < 3 else "random", seed, 6 + seed) for seed in range(5)]
    comparison = compare(sweeps)
    assert [(group.label, len(group.courses)) for group in comparison.groups] == [("tpe", 3), ("random", 2)]
    for axis, column in (("samples", 0), ("seconds", 1)):
        group = comparison.groups[0]
        costs = group.points(axis)
        least, median, largest = group.spread(axis, costs)
        for place, cost in enumerate(costs):
            truth = [max([0.0, *(row[2] for row in by_hand(sweep) if row[column] <= cost)]) for sweep in sweeps[:3]]
            found = least[place], median[place], largest[place]
            assert found == pytest.approx((min(truth), statistics.median(truth), max(truth)))
    assert comparison.best == pytest.approx(max(by_hand(sweep)[-1][2] for sweep in sweeps))


def test_the_median_of_costs_counts_sweeps_that_never_got_there() -> None:
    quick, slow, never = ([trial(0, (1, 1))], [trial(0, (9, 9)), trial(1, (1, 1))], [trial(0, (9, 9))])
    comparison = compare([record("a", quick), record("b", slow), record("c", never)], "sampler")
    (group,) = comparison.groups
    assert group.middle(lambda course: course.cost_of("trials", 80.0)) == (1.0, 2.0, math.inf)
    pair = Group("pair", (group.courses[0], group.courses[2]))
    assert pair.middle(lambda course: course.cost_of("trials", 80.0)) == (1.0, math.inf, math.inf)
    said = summary(comparison)["groups"][0]
    assert said["to_95"]["trials"] == 2 and [each["to_95"]["trials"] for each in said["sweeps"]] == [1, 2, None]


def test_of_sweeps_without_any_hypervolume_nothing_was_ever_reached() -> None:
    """95 % of 0 is no hypervolume to reach, and trials that failed have not reached it."""
    far, failed = [trial(0, (20, 20)), trial(1, (30, 1))], [trial(0, (1, 1), feasible=False)]
    comparison = compare([record("a", far), record("b", failed)])
    assert comparison.best == 0.0
    assert [course.cost_of("trials", 0.0) for course in comparison.courses] == [math.inf, math.inf]
    said = summary(comparison)
    assert [set(each["to_95"].values()) | set(each["sweeps"][0]["to_95"].values()) for each in said["groups"]] == [{None}] * 2
    assert markdown(comparison).count("never") == 2 * len(comparison.axes)
    assert notes(comparison) == ["No sweep has a hypervolume above 0: no feasible trial is better than the reference point."]


def test_the_reference_point_is_the_sweeps_own_or_made_of_all_of_them() -> None:
    first, second = [trial(0, (1, 4))], [trial(0, (3, 2)), trial(1, (99, 99), feasible=False)]
    own = compare([record("a", first), record("b", second)])
    assert own.reference_point == REFERENCE and own.reference_from == "the sweeps' own"
    for other, why in ((None, "differ"), ((10.0, 11.0), "differ")):
        made = compare([record("a", first), record("b", second, reference=other)])
        assert (
            made.reference_point == pytest.approx((3.2, 4.2)) and why in made.reference_from
        )  # the worst plus 10 % of the range
    assert "name none" in compare([record("a", first, reference=None), record("b", second, reference=None)]).reference_from
    turned = replace(
        record("b", second), objectives=dict(reversed(TWO.items())), reference_point=REFERENCE[::-1]
    )  # another order is no other problem
    assert compare([record("a", first), turned]).courses[1].final == pytest.approx(56.0)


def test_labels_are_samplers_where_these_differ() -> None:
    alike = [record("a", [trial(0, (1, 1))]), record("b", [trial(0, (2, 2))])]
    assert [group.label for group in compare(alike).groups] == ["a", "b"]
    assert [group.label for group in compare(alike, "sampler").groups] == ["tpe"]
    apart = [alike[0], replace(alike[1], sampler="gp")]
    assert [group.label for group in compare(apart).groups] == ["tpe", "gp"]
    assert [group.label for group in compare(apart, "sweep").groups] == ["a", "b"]
    twins = [alike[0], replace(alike[1], experiment_name="a", parent_run_id="f" * 32)]
    assert [group.label for group in compare(twins).groups] == ["a run-a", "a ffffffff"]


def test_what_cannot_be_compared_is_refused_by_name() -> None:
    one = record("one", [trial(0, (1, 1))])
    other = replace(record("two", []), objectives={"objective": "maximize", "value/max": "minimize"})
    with pytest.raises(ReviewError, match=r"'one' has objective \(minimize\).*'two' has objective \(maximize\)"):
        compare([one, other])
    with pytest.raises(ReviewError, match="at least two sweeps, but got 1"):
        compare([one])
    with pytest.raises(ReviewError, match=r"'one' .*is there twice"):
        compare([one, one])
    five: dict[str, Direction] = {f"m{i}": "minimize" for i in range(5)}
    by_all = replace(record("two", []), required=frozenset({"four"}))
    with pytest.raises(ReviewError, match=r"same budgets decide .* of 'one' all do and of 'two' four do"):
        compare([one, by_all])
    with pytest.raises(ReviewError, match="of 'one' all do and of 'two' none does"):
        compare([one, replace(by_all, required=frozenset())])
    with pytest.raises(ReviewError, match="at most 4 objectives, but got 5"):
        compare([replace(each, objectives=five, reference_point=None) for each in (one, record("two", []))])
    nothing = [record(name, [trial(0, (1, 1), feasible=False)], reference=None) for name in ("a", "b")]
    with pytest.raises(ReviewError, match="must have a feasible trial"):
        compare(nothing)


def test_what_was_not_recorded_or_has_not_ended_is_left_out_and_said() -> None:
    bare = replace(trial(0, (1, 1)), batch_size=None)
    running = trial(1, (0, 0), status="running")
    comparison = compare([record("a", [bare, running]), record("b", [trial(0, (2, 2))])])
    assert comparison.axes == ("trials", "seconds") and comparison.courses[0].volumes == (81.0,)
    assert notes(comparison)[0] == "1 trials that have not ended are left out."
    assert "not recorded by a" in notes(comparison)[1]
    thrice = replace(trial(0, (1, 1)), replicates=3)
    costs = compare([record("a", [thrice]), record("b", [])]).courses[0].costs
    assert (costs["samples"], costs["seconds"]) == ((3 * 800.0,), (3 * 400.0,))
    unmeasured = replace(trial(0, (1, 1)), metrics=dict(zip(TWO, (1.0, 1.0), strict=True)), seconds=3.0)
    assert compare([record("a", [unmeasured]), record("b", [])]).courses[0].costs["seconds"] == (6.0,)


@pytest.fixture
def comparison() -> Comparison:
    return compare([drawn(f"s{seed}", ("tpe", "gp", HOSTILE)[seed % 3], seed, 12) for seed in range(6)])


def test_the_page_holds_every_line_and_needs_no_network(comparison: Comparison) -> None:
    page = compare_html(comparison)
    assert len(page.encode()) < 3_000_000 and not re.search(r"""(?:src|href)=["']https?://""", page)
    matched = re.search(r'<script type="application/json" id="comparison">(.*?)</script>', page, re.S)
    assert matched is not None
    figure = json.loads(matched.group(1))
    lines = [each for each in figure["data"] if "name" in each]
    assert len(lines) == 3 * 3 and sum(each["showlegend"] for each in lines) == 3
    assert [each["name"] for each in lines if each["showlegend"]] == [
        f"{label}, median and range of 2" for label in ("tpe", "gp", HOSTILE)
    ]
    assert "<b>bold</b>" not in page
    group = comparison.groups[0]
    assert lines[0]["y"] == pytest.approx(group.spread("trials", group.points("trials"))[1] / comparison.best, rel=1e-5)


def test_the_picture_tells_lines_apart_in_grey(comparison: Comparison) -> None:
    picture = pixels(compare_png(comparison))
    assert picture.shape[1] > 1500
    inked = picture[(picture.max(axis=2) - picture.min(axis=2)) > 60]  # coloured: lines and marks
    greys = np.round(inked @ [0.299, 0.587, 0.114]).astype(int)
    shades = [shade for shade in range(256) if (greys == shade).sum() > 200]
    assert max(shades) - min(shades) > 80


def test_names_of_sweeps_are_drawn_as_they_are() -> None:
    odd, hidden = (record(name, [trial(0, (1.0, 2.0))]) for name in (r"costs $5\w and $6", "_hidden"))
    drawn_whole = pixels(compare_png(compare([odd, hidden])))
    without = pixels(compare_png(compare([odd, record("Xhidden", [trial(0, (1.0, 2.0))])])))
    assert drawn_whole.shape == without.shape and drawn_whole[-60:].std() == pytest.approx(without[-60:].std(), rel=0.2)


def test_markdown_has_a_row_for_each_group_and_the_runs(comparison: Comparison) -> None:
    text = markdown(comparison)
    assert sum(line.startswith("| ") for line in text.splitlines()) == 1 + 3
    assert "\\|" in text and all(course.run_id in text for course in comparison.courses)


def test_sweeps_are_compared_as_mlflow_has_them(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri, experiment = new_store(tmp_path)
    client, runs = MlflowClient(uri), []
    for sampler, points in (("tpe", [(3, 3), (1, 1)]), ("gp", [(2, 2)])):
        parent = log_parent(uri, experiment, tags={"dualsweep.reference_point": "[10, 10]"})
        client.log_param(parent, "sampler.name", sampler)
        client.log_param(parent, "sampler.seed", 7)
        for number, point in enumerate(points):
            made = trial(number, point, steps=50)
            run = log_trial(uri, experiment, parent, replace(made, metrics={**made.metrics, "feasible": 1.0}))
            workers = [2, 4] if number else 2  # of an elastic one the least
            for name, value in {"train.batch_size": 32, "resources.workers": workers, "rollout.batch_size": 64}.items():
                client.log_param(run, name, value)
        runs.append(parent)
    first, second = compare([read_sweep(uri, run) for run in runs]).courses
    assert (first.label, first.seed, first.run_id, second.label) == ("tpe", "7", runs[0], "gp")
    assert (
        first.volumes == (49.0, 81.0) and first.costs["samples"] == (1600.0, 3200.0) and first.costs["seconds"] == (200.0, 400.0)
    )
