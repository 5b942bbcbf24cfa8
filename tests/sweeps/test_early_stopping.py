"""Early stopping in a sweep, without Ray: its keys, what Optuna is told, and a decision that a kill interrupts."""

# ruff: noqa: E501  # what users are told stands here as they see it
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow import MlflowClient
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from rich.console import Console

from dualsweep.analysis.front import find_front
from dualsweep.sweeps.checking import checked_plan
from dualsweep.sweeps.describing import describe
from dualsweep.sweeps.mirrored.mirror import Here
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.progress import Progress
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.sweeps.runner import Runner
from dualsweep.sweeps.studies.kept import JOURNAL
from dualsweep.sweeps.studies.study import Study
from dualsweep.sweeps.tracking.tracker import Tracker
from dualsweep.sweeps.trials.results import Results, sweep_record
from dualsweep.sweeps.trials.runs import Run
from dualsweep.trainer.config.diagnostics import InputError
from tests.stores import empty_store
from tests.sweeps.files import RECIPE, SWEEP, plan, write

SURE = {"infeasible": True, "dominated": {"confidence": 0.95}}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("true", SURE),
        ("{infeasible: true}", {"infeasible": True}),
        ("{dominated: true, halving: {first: 0.1}}", {"dominated": {"confidence": 0.95}, "halving": {"reduction": 3, "first": 0.1}}),
        ("{dominated: {confidence: 0.8}, halving: false}", {"dominated": {"confidence": 0.8}}),
        ("false", None),
    ],
)  # fmt: skip
def test_rules_are_turned_on_one_by_one_or_by_true(tmp_path: Path, written: str, read: dict[str, Any] | None) -> None:
    found = plan(tmp_path, sweep=f"{SWEEP}early_stopping: {written}\n").early_stopping
    assert (found and {key: value for key, value in found.model_dump().items() if value}) == read


def test_what_stops_early_is_shown(tmp_path: Path) -> None:
    asked = "early_stopping={infeasible: true, dominated: true, halving: true}"
    checked = checked_plan(plan(tmp_path, asked), str(tmp_path / "out"), None, None)
    assert "  stops early   infeasible, dominated (confidence 0.95), halving (reduction 3, first 0.2)" in list(describe(checked))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("early_stopping: {halving: {reduction: 1}}\n", "7: early_stopping.halving.reduction: must be greater than or equal to 2, but got 1; write one in so many goes on at a rung, e.g. 3"),
        ("early_stopping: {dominated: {confidence: 1.0}}\n", "7: early_stopping.dominated.confidence: must be less than 1, but got 1.0; write how sure that must be, over all objectives together, e.g. 0.95"),
        ("early_stopping: {dominate: true}\n", "7: early_stopping.dominate: must be a known key, but got `dominate`; did you mean `dominated`? Valid: dominated, halving, infeasible"),
        ("early_stopping: {infeasible: false}\n", "7: early_stopping: a section must turn on a rule, but got none; name infeasible, dominated or halving, or drop it"),
        ("early_stopping: true\nset: {train.log_every: 100}\n", "7: early_stopping: must have at least 20 points of a trial to go by, but got 15 (train.steps 1500 by train.log_every 100); write train.log_every 75, or drop `early_stopping`"),
        ("early_stopping: true\nset: {train.steps: 400}\ncontinuation: true\n", "7: early_stopping: must have at least 20 points of a trial to go by, but got 13 of a continued trial (train.steps 134 by train.log_every 10); write train.log_every 6, or drop `early_stopping`"),
        ("early_stopping: true\ncontinuation: {steps: 15}\n", "7: early_stopping: must have at least 20 points of a trial to go by, but got 1 of a continued trial (train.steps 15 by train.log_every 10); give it at least 20 steps, or drop `early_stopping`"),
        ("early_stopping: {dominated: true}\nobjectives: {objective: minimize, eval/frechet: minimize}\n", "7: early_stopping.dominated: must have objectives that are measured in training, but got `eval/frechet`, known at the end alone; take other objectives, or the rule infeasible alone"),
    ],
)  # fmt: skip
def test_what_can_not_stop_a_trial_is_refused(tmp_path: Path, lines: str, said: str) -> None:
    path = write(tmp_path, SWEEP + lines)
    with pytest.raises(InputError) as caught:
        load_plan(path)
    assert [str(each).replace(f"{path}:", "") for each in caught.value.diagnostics] == [said]


@pytest.mark.parametrize(
    ("searched", "said"),
    [
        ("train.steps: {choice: [150, 1500]}", "15 of the shortest trial (train.steps 150 by train.log_every 10); write train.log_every 7, or"),
        ("train.log_every: {int: [10, 100]}", "15 of the shortest trial (train.steps 1500 by train.log_every 100); search train.log_every up to 75, or"),
        ("train: {choice: [{steps: 100, lr: 1.0e-3}, {steps: 1500}]}", "10 of the shortest trial (train.steps 100 by train.log_every 10); write train.log_every 5, or"),
        ("train.steps: {int: [200, 1500]}", None),
    ],
)  # fmt: skip
def test_the_shortest_trial_has_points_enough_too(tmp_path: Path, searched: str, said: str | None) -> None:
    path = write(tmp_path, SWEEP.replace("search:\n", f"search:\n  {searched}\n") + "early_stopping: true\n")
    if said is None:
        load_plan(path)
        return
    with pytest.raises(InputError) as caught:
        load_plan(path)
    rule = "8: early_stopping: must have at least 20 points of a trial to go by, but got"
    whole = f"{rule} {said} drop `early_stopping`"
    assert [str(each).replace(f"{path}:", "") for each in caught.value.diagnostics] == [whole]


def test_without_a_budget_infeasible_is_refused_where_it_is_named(tmp_path: Path) -> None:
    recipe = "".join(line for line in RECIPE.splitlines(True) if "name: f" not in line and "constraints:" not in line)
    (tmp_path / "recipe.yaml").write_text(recipe)
    text = "name: s\nrecipe: recipe.yaml\nsearch: {train.lr: {log_uniform: [0.001, 0.1]}}\ntrials: 2\nearly_stopping: "
    (tmp_path / "sweep.yaml").write_text(text + "true\n")
    rules = load_plan(tmp_path / "sweep.yaml").early_stopping
    assert rules is not None and not rules.infeasible and rules.dominated and not rules.halving
    (tmp_path / "sweep.yaml").write_text(text + "{infeasible: true}\n")
    with pytest.raises(
        InputError,
        match=r"5: early_stopping.infeasible: must come with a constraint that has a budget, but got a recipe without one",
    ):
        load_plan(tmp_path / "sweep.yaml")


def stored(output: Path) -> list[optuna.trial.FrozenTrial]:
    storage = JournalStorage(JournalFileBackend(str(output / JOURNAL)))
    return optuna.load_study(study_name="digits-minority", storage=storage).trials


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "random", "quasi_random", "dual_informed"])
def test_a_stopped_trial_is_pruned_with_its_constraints_and_every_sampler_goes_on(tmp_path: Path, sampler: str) -> None:
    search = plan(tmp_path, f"sampler.name={sampler}", "trials=30")
    with Study(search, tmp_path / "out") as study:
        for number in range(9):
            asked = study.ask()
            told = study.tell(asked.number, [float("nan"), 1.0], {"four": -0.5, "five": 0.25}, stopped=True)
            assert told == study.states[number] == "stopped"
        assert study.unfinished() == [] and study.finished == 9
        assert study.tell(0, [1.0, 2.0], {"four": 1.0, "five": 1.0}) == "stopped"
        assert study.ask().number == 9
    trial = stored(tmp_path / "out")[0]
    named = {name: trial.constraints[name] for name in ("four", "five")}  # optuna-dashboard wants them by number, too
    assert (trial.state, trial.values, named) == (TrialState.PRUNED, None, {"four": 0.5, "five": -0.25})


def test_samplers_place_nothing_by_stopped_trials_as_if_they_were_good(tmp_path: Path) -> None:
    """TPE: feasible complete trials at small step sizes; stopped ones at large ones never become its good half."""
    space: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1)}
    study = optuna.create_study(directions=["minimize"] * 2, sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=5))
    for k in range(40):
        trial = study.ask(space)
        trial.set_constraint("g", -1.0)
        if trial.params["x"] > 0.5:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, [k % 7, 7 - k % 7])
    assert sum(each.params["x"] > 0.5 for each in study.trials[20:]) <= 3


def test_a_stop_counts_as_neither_failed_nor_infeasible(hopeless_sweep: Plan, tmp_path: Path) -> None:
    with Conducted(hopeless_sweep, tmp_path / "out") as sweep:
        assert sweep.report(sweep.start(), 1500)
    records = TrialRecord.load_all(tmp_path / "out")
    good = json.loads(json.dumps(records[0].result.to_json()))
    good |= {"status": "converged", "feasible": True, "stopped_by": None, "metrics": {**good["metrics"], "feasible": 1.0}}
    ended = TrialRecord(1, {}, type(records[0].result).from_json(good))
    for trials, code in (([*records, ended], 0), (records, 0)):
        assert Results(trials, [], None, None, False).exit_code == code
    record = sweep_record(hopeless_sweep, [*records, ended])
    front = find_front(record)
    assert front.ids == ("0001",) and front.ranks["0000"] is None
    assert (record.trials[0].status, record.trials[0].standing) == ("stopped", None)
    assert (
        front.note
        == "1 of 2 trials is on the front; 1 counts by what was attained; 1 on it missed the budget given; 1 stopped early."
    )


class Conducted:
    """A sweep without Ray, whose trials report what the test says."""

    def __init__(self, search: Plan, output: Path) -> None:
        self.study = Study(search, output)
        self.tracker = Tracker(search, output, print, interval=0.05)
        self.progress = Progress(Console(quiet=True), search.trials)
        self.runner = Runner(search, self.study, self.tracker, self.progress, str(output), Here(output))

    def __enter__(self) -> Conducted:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.tracker.close() is None
        self.study.close()

    def start(self) -> Run:
        following = self.runner.next()
        assert following is not None
        self.runner.started(following[0])
        return following[0]

    def report(self, run: Run, until: int, after: int = 0) -> bool:
        """Reports points of a trial whose slack stays at -0.3 while its multiplier rises; whether it was stopped."""
        points = [hopeless(step) for step in range(after + 10, until + 1, 10)]
        return self.runner.reported(run, {"step": until, "steps": 1500, "seconds": until / 10, "points": points})


def hopeless(step: int) -> dict[str, Any]:
    wave = 0.01 * (-1) ** (step // 10)
    metrics = {"objective": 0.3 + wave, "value/max": 0.42 + wave, "violation/max": 0.3 + wave, "feasible": 0.0}
    for name in ("four", "five"):
        metrics |= {f"value/{name}": 0.42 + wave, f"slack/{name}": -0.3 - wave, f"slack_error/{name}": 0.01}
        metrics |= {f"multiplier/{name}": step / 1000, f"budget/{name}": 0.12}
    return {"step": step, "time": 1e9 + step, "metrics": metrics}


@pytest.fixture
def hopeless_sweep(tmp_path: Path) -> Plan:
    return plan(tmp_path, f"mlflow.tracking_uri={empty_store(tmp_path)}", sweep=SWEEP + "early_stopping: {infeasible: true}\n")


def check_stopped(search: Plan, output: Path, number: int = 0) -> None:
    """A stopped trial everywhere: record, Optuna, MLflow."""
    record = TrialRecord.load_all(output)[number]
    result = record.result
    assert (result.status, result.stopped_by, result.steps, result.feasible) == ("stopped", "infeasible", 530, "undecided")
    assert result.reason.startswith("`four` cannot be met within the 970 steps that are left: its slack is -0.299")
    assert result.constraints["four"].multiplier == 0.53 and result.metrics["value/max"] == pytest.approx(0.42, abs=0.02)
    assert record.to_json()["stopped_by"] == "infeasible"
    trial = stored(output)[number]
    assert trial.state == TrialState.PRUNED and trial.constraints["four"] == pytest.approx(0.3, abs=0.02)
    client = MlflowClient(search.tracking_uri)
    experiment = client.get_experiment_by_name(search.experiment)
    assert experiment is not None
    for query in (
        "tags.`dualsweep.stopped_by` = 'infeasible'",
        "tags.`dualsweep.status` = 'stopped'",
        "attributes.status = 'KILLED'",
    ):
        [run] = client.search_runs([experiment.experiment_id], query)
        assert run.data.tags["dualsweep.trial"] == f"{number:04d}" and run.data.tags["dualsweep.reason"] == result.reason
    steps = [each.step for each in client.get_metric_history(run.info.run_id, "objective")]
    assert steps == list(range(10, 531, 10)), "no point is there twice, and none after the stop"
    assert {"explain.md", "result.json", "recipe.yaml"} <= {each.path for each in client.list_artifacts(run.info.run_id)}


def test_a_trial_stops_where_its_points_say_so_however_they_come(hopeless_sweep: Plan, tmp_path: Path) -> None:
    for name, chunks in (("one", [1500]), ("many", list(range(10, 1500, 10)))):
        with Conducted(hopeless_sweep, tmp_path / name) as sweep:
            run, before = sweep.start(), 0
            for until in chunks:
                over = sweep.report(run, until, before)
                before = until
                if over:
                    break
            assert over and sweep.report(run, 1500, 530), "what still comes of it is not taken"
            assert sweep.start().number == 1
    assert [each["result"]["steps"] for each in map(_plain, (tmp_path / "one", tmp_path / "many"))] == [530, 530]


def _plain(output: Path) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads((output / "records" / "0000.json").read_text())
    return plain


def test_a_stopped_trial_is_one_everywhere_and_for_good(hopeless_sweep: Plan, tmp_path: Path) -> None:
    with Conducted(hopeless_sweep, tmp_path / "out") as sweep:
        assert sweep.report(sweep.start(), 1500)
    check_stopped(hopeless_sweep, tmp_path / "out")
    with Conducted(hopeless_sweep, tmp_path / "out") as sweep:
        assert sweep.start().number == 1
        sweep.tracker.interrupt(1)
        sweep.tracker.end_trial(1, "converged", "")
    check_stopped(hopeless_sweep, tmp_path / "out")


class Killed(BaseException):
    """As a kill -9 would: nothing after it runs."""


@pytest.mark.parametrize("at", ["record", "tell", "track"])
def test_a_kill_right_after_the_decision(hopeless_sweep: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    output = tmp_path / "out"
    with monkeypatch.context() as patch:
        owner, name = {"record": (TrialRecord, "save"), "tell": (Study, "tell"), "track": (Tracker, "end_trial")}[at]

        def killed(*_: object, **__: object) -> None:
            raise Killed

        with Conducted(hopeless_sweep, output) as sweep:
            run = sweep.start()
            patch.setattr(owner, name, killed)
            with pytest.raises(Killed):
                sweep.report(run, 1500)
    with Conducted(hopeless_sweep, output) as sweep:
        assert sweep.start().number == 1, "it is never run again"
        sweep.tracker.end_trial(1, "converged", "")
    check_stopped(hopeless_sweep, output)


def test_one_stopped_training_stops_all_of_its_trial(tmp_path: Path) -> None:
    uri = f"mlflow.tracking_uri={empty_store(tmp_path)}"
    search = plan(tmp_path, uri, "seeds=3", sweep=SWEEP + "early_stopping: {infeasible: true}\n")
    with Conducted(search, tmp_path / "out") as sweep:
        first, second = sweep.start(), sweep.start()
        assert (first.number, second.number) == (0, 0) and not sweep.report(second, 100)
        assert sweep.report(first, 1500) and sweep.report(second, 200, 100)
        assert sweep.start().number == 1, "the third never begins"
        sweep.tracker.interrupt(1)
        sweep.tracker.end_trial(1, "converged", "", seed=0)
        sweep.tracker.end_trial(1, "converged", "")
    [record] = TrialRecord.load_all(tmp_path / "out")
    assert (record.result.status, record.result.steps, record.result.stopped_by) == ("stopped", 530, "infeasible")
    assert record.replicates is not None
    assert {seed: each.steps for seed, each in record.replicates.runs.items()} == {0: 530, 1: 100, 2: 0}
    assert record.replicates.runs[1].reason.startswith("training 0000-seed-0 of this trial was stopped: `four` cannot be met")
    assert stored(tmp_path / "out")[0].state == TrialState.PRUNED
