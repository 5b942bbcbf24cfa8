"""What a user prefers: as a sweep's key and as an option, checked; recorded in MLflow, from which the front is rebuilt."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mlflow import MlflowClient
from rich.console import Console

from dualsweep.analysis.preference import Limit, Preference
from dualsweep.analysis.publish import record_preference
from dualsweep.analysis.reading import read_sweep
from dualsweep.analysis.trials import SweepRecord
from dualsweep.sweeps.checking import checked_sweep
from dualsweep.sweeps.describing import describe
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.planning.preferring import read_option
from dualsweep.sweeps.reports.reviewing import rebuild
from dualsweep.sweeps.tracking.tracker import Tracker
from dualsweep.trainer.config.diagnostics import InputError
from tests.analysis.made_up import log_parent, log_trial, made_up_trials, new_store
from tests.stores import empty_store
from tests.sweeps.files import RECIPE, write

SWEEP = """\
name: s
recipe: recipe.yaml
search: {constraints.*.at_most: {uniform: [0.08, 0.25]}}
trials: 4
prefer: PREFER
"""


def written(folder: Path, prefer: str) -> Path:
    write(folder, SWEEP.replace("PREFER", prefer), RECIPE)
    return folder / "sweep.yaml"


@pytest.mark.parametrize(("prefer", "expected", "shown"), [
    ("{weights: {objective: 1, value/max: 2}}", Preference({"objective": 1.0, "value/max": 2.0}),
     "objective 1, value/max 2, in parts of the ranges"),
    ("{weights: {objective: 1}, scale: unit}", Preference({"objective": 1.0}, "unit"), "objective 1, in their own units"),
    ("{meets: {value/four: {at_most: 0.1}, eval/accuracy: {at_least: 0.5}}}",
     Preference(best="objective", meets=(Limit("value/four", "at_most", 0.1), Limit("eval/accuracy", "at_least", 0.5))),
     "the best objective with value/four ≤ 0.1, eval/accuracy ≥ 0.5"),
    ("{best: value/max, meets: {objective: {at_most: 0}}}",
     Preference(best="value/max", meets=(Limit("objective", "at_most", 0.0),)), "the best value/max with objective ≤ 0"),
])  # fmt: skip
def test_a_preference_is_read_and_shown(tmp_path: Path, prefer: str, expected: Preference, shown: str) -> None:
    file = written(tmp_path, prefer)
    assert load_plan(file).preference == expected
    assert f"  prefer        {shown}" in list(describe(checked_sweep(file, [], None, None, None)))
    metrics = ["objective", "value/max", "value/four", "eval/accuracy"]
    assert read_option(prefer, ["objective", "value/max"], metrics) == expected


@pytest.mark.parametrize(("prefer", "said"), [
    ("{weights: {objectiv: 1}}",
     "sweep.yaml:5: prefer.weights.objectiv: must be an objective of the sweep, but got `objectiv`; did you"),
    ("{weights: {value/four: 1}}", "must be an objective of the sweep, but got `value/four`"),
    ("{weights: {objective: -1}}", "sweep.yaml:5: prefer.weights.objective: must be greater than or equal to 0, but got -1"),
    ("{weights: {objective: 0}}", "must hold one above 0, but got zeros alone"),
    ("{weights: {objective: .inf}}", "must be a finite number"),
    ("{weights: {}}", "prefer.weights: must not be empty"),
    ("{wieghts: {objective: 1}}",
     "sweep.yaml:5: prefer.wieghts: must be a known key, but got `wieghts`; did you mean `weights`?"),
    ("{weights: {objective: 1}, scale: rnage}", "must be one of the known words, but got 'rnage'; did you mean `range`?"),
    ("{weights: {objective: 1}, meets: {objective: {at_most: 1}}}", "must hold one of weights and meets, but got both"),
    ("{}", "must hold one of weights and meets, but got none of them"),
    ("{weights: {objective: 1}, best: objective}", "`best` must stand beside `meets`, but got it without"),
    ("{meets: {objective: {at_most: 1}}, scale: unit}", "`scale` must stand beside `weights`, but got it without"),
    ("{meets: {value/fuor: {at_most: 1}}}",
     "prefer.meets.value/fuor: must be a metric of the sweep's runs, but got `value/fuor`; did you mean `value/four`?"),
    ("{meets: {value/four: 0.1}}", "sweep.yaml:5: prefer.meets.value/four: must be"),
    ("{meets: {value/four: {below: 0.1}}}", "prefer.meets.value/four.below: must be a known key"),
    ("{meets: {value/four: {at_most: 0.1, at_least: 0}}}", "a limit must hold one of at_most and at_least, but got both"),
    ("{meets: {value/four: {}}}", "a limit must hold one of at_most and at_least, but got none of them"),
    ("{best: value/four, meets: {value/five: {at_most: 0.1}}}", "sweep.yaml:5: prefer.best: must be an objective of the sweep"),
    ("cheap", "sweep.yaml:5: prefer: must be"),
])  # fmt: skip
def test_bad_preferences_are_told_by_line(tmp_path: Path, prefer: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        load_plan(written(tmp_path, prefer))
    assert said in str(caught.value)


@pytest.mark.parametrize(("option", "said"), [
    ("cheap", "command line:1: --prefer: must be a preference, but got 'cheap'; write e.g."),
    ("{weights: ", "--prefer: must be a preference"),
    ("{weights: {objectiv: 1}}",
     "command line:1: --prefer weights.objectiv: must be an objective of the sweep, but got `objectiv`; did you"),
    ("{meets: {eval/frechett: {at_most: 1}}}", "--prefer meets.eval/frechett: must be a metric of the sweep's runs, but got "
     "`eval/frechett`; did you mean `eval/frechet`?"),
    ("{meets: {eval/frechet: {at_most: yes}}}", "--prefer meets.eval/frechet.at_most: must be a valid number"),
])  # fmt: skip
def test_bad_options_are_told(option: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read_option(option, ["objective", "value/max"], ["objective", "eval/frechet"])
    assert said in str(caught.value)


class Rebuilt(NamedTuple):
    """A sweep in MLflow with a preference, its front rebuilt with that and then with another: its JSON, and what was printed."""

    uri: str
    parent: str
    folder: Path
    first: dict[str, Any]
    printed: str
    made: dict[str, Any]

    @property
    def record(self) -> SweepRecord:
        return read_sweep(self.uri, self.parent)

    @property
    def expected(self) -> str:
        """The trial that the second preference asks for."""
        record = self.record
        meeting = [t for t in record.trials if record.admitted(t) and t.metric("value/max") <= 0.15]
        return min(meeting, key=lambda t: t.metric("objective")).trial_id

    @property
    def tagged(self) -> dict[str, str]:
        return {t.trial_id: t.marked["recommended"] for t in self.record.trials if t.marked["recommended"] != "none"}


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Rebuilt:
    folder = tmp_path_factory.mktemp("rebuilt")
    uri, experiment = new_store(folder)
    tags = {"dualsweep.prefer": json.dumps(Preference({"objective": 1.0}).to_json())}
    parent = log_parent(uri, experiment, tags=tags)
    for trial in made_up_trials(14):
        log_trial(uri, experiment, parent, trial)
    console = Console(width=200, record=True)
    first = rebuild(parent, uri, folder / "out", console)
    printed = console.export_text()
    return Rebuilt(
        uri,
        parent,
        folder,
        first,
        printed,
        rebuild(parent, uri, folder / "out", console, "{meets: {value/max: {at_most: 0.15}}}"),
    )


def test_the_front_is_rebuilt_with_what_the_sweep_prefers(rebuilt: Rebuilt) -> None:
    first = rebuilt.first
    best = min((t for t in rebuilt.record.trials if t.trial_id in first["front"]), key=lambda t: t.metric("objective"))
    assert first["recommended"]["trial"] == first["recommended"]["preferred"] == best.trial_id
    assert "the best by your weights (objective 1, in parts of the ranges along the front)" in rebuilt.printed


def test_a_preference_by_option_is_kept_in_mlflow(rebuilt: Rebuilt, tmp_path: Path) -> None:
    """So it holds when it is left out the next time."""
    made, expected = rebuilt.made, rebuilt.expected
    assert rebuild(rebuilt.parent, rebuilt.uri, tmp_path, Console(width=200, quiet=True)) == made
    assert made["recommended"]["preferred"] == expected != rebuilt.first["recommended"]["preferred"]
    knee = made["recommended"]["knee"]
    assert rebuilt.tagged == (
        {expected: "preferred", knee: "knee"} if knee not in (None, expected) else {expected: "preferred" + ", knee" * bool(knee)}
    )


def test_tags_description_table_and_json_agree(rebuilt: Rebuilt) -> None:
    uri, parent, made, expected, tagged = rebuilt.uri, rebuilt.parent, rebuilt.made, rebuilt.expected, rebuilt.tagged
    with (rebuilt.folder / "out" / "trials.csv").open(newline="") as file:
        rows = {row["trial"]: row for row in csv.DictReader(file)}
    assert {name: row["recommended"] for name, row in rows.items() if row["recommended"]} == tagged
    assert {price["trial"] for price in made["prices"]} >= set(made["front"])
    assert all(rows[p["trial"]]["price/four"] == p["verdict"] for p in made["prices"])
    text = MlflowClient(uri).get_run(parent).data.tags["mlflow.note.content"]
    assert "### Which point to take" in text and "### What budgets cost" in text and f"preferred: [{expected}]" in text


def test_none_forgets_the_preference_and_one_of_nothing_is_refused(tmp_path: Path) -> None:
    uri, experiment = new_store(tmp_path)
    parent = log_parent(uri, experiment, tags={"dualsweep.prefer": json.dumps(Preference({"objective": 1.0}).to_json())})
    for trial in made_up_trials(4):
        log_trial(uri, experiment, parent, trial)
    console = Console(width=200, quiet=True)
    with pytest.raises(InputError, match=r"must be a metric of the sweep's runs, but got `eval/none`"):
        rebuild(parent, uri, tmp_path / "out", console, "{meets: {eval/none: {at_most: 1}}}")
    assert read_sweep(uri, parent).prefer is not None
    forgotten = rebuild(parent, uri, tmp_path / "out", console, "none")
    assert forgotten["recommended"]["preferred"] is None and read_sweep(uri, parent).prefer is None


def test_what_the_file_prefers_is_taken_back_with_it_and_an_option_stands_until_the_file_changes(tmp_path: Path) -> None:
    first, second, by_option = Preference({"objective": 1.0}), Preference({"value/max": 2.0}), Preference({"objective": 3.0})
    uri = empty_store(tmp_path)

    def started(prefer: Preference | None) -> SweepRecord:
        file = written(tmp_path, json.dumps(prefer.to_json()) if prefer is not None else "null")
        tracker = Tracker(load_plan(file, [f"mlflow.tracking_uri={uri}"]), tmp_path / "out", print, interval=0.1)
        assert tracker.close() is None and tracker.run_id is not None
        return read_sweep(uri, tracker.run_id)

    assert [started(each).prefer for each in (None, first, second, None, first)] == [None, first, second, None, first]
    record_preference(uri, replace(started(first), prefer=by_option))
    assert started(first).prefer == started(first).prefer == by_option
    assert started(second).prefer == second
    record_preference(uri, replace(started(second), prefer=None))
    assert started(second).prefer is None and started(None).prefer is None
    record_preference(uri, replace(started(None), prefer=by_option))
    assert started(None).prefer == by_option and started(first).prefer == first
