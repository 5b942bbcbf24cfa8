"""The runner without Ray: trials of several trainings are recorded, told and tracked as one, whatever is killed when."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as Run_
from rich.console import Console

from dualsweep.analysis.reading import read_sweep
from dualsweep.sweeps.mirrored.mirror import Here
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.progress import Progress
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.sweeps.reports.explaining import explain_run
from dualsweep.sweeps.runner import Runner
from dualsweep.sweeps.studies.study import Study
from dualsweep.sweeps.tracking.tracker import Tracker
from dualsweep.sweeps.trials.results import sweep_record
from dualsweep.sweeps.trials.runs import Run
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.metric_point import MetricPoint
from dualsweep.trainer.result import ConstraintOutcome, Result, failed
from dualsweep.trainer.storage import RESULT, write_files
from tests.analysis.made_up import new_store
from tests.sweeps.files import RECIPE, write

SWEEP = """\
name: digits-minority
recipe: recipe.yaml
search: {"constraints.*.at_most": {uniform: [0.08, 0.25]}}
sampler: {name: quasi_random, seed: 3}
trials: 3
seeds: 2
"""


def planned(folder: Path) -> Plan:
    """The sweep, tracked in an MLflow store of its own."""
    uri, _ = new_store(folder, "another")
    return load_plan(write(folder, SWEEP), [f"mlflow.tracking_uri={uri}"])


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path]:
    """A sweep that ran to its end, and its output folder."""
    folder = tmp_path_factory.mktemp("swept")
    plan = planned(folder)
    assert go(plan, folder / "out") == [f"{number:04d}-seed-{seed}" for number in range(3) for seed in range(2)]
    return plan, folder / "out"


@contextmanager
def conducted(plan: Plan, folder: Path, said: IO[str] | None = None) -> Iterator[Runner]:
    """A runner as `run_sweep` makes it, which says what it does; what is not over at the end was interrupted."""
    with Study(plan, folder) as study:
        tracker = Tracker(plan, folder, print, interval=0.1)
        with Progress(Console(file=said, quiet=said is None, width=1000), 6) as progress:
            yield Runner(plan, study, tracker, progress, str(folder), Here(folder))
        for asked in study.unfinished():
            tracker.interrupt(asked.number)
        assert tracker.close() is None


def ended(run: Run) -> Result:
    """A training on the front f = 0.01 / b, off by its seed's own noise; seed 1 of the trial 1 fails."""
    budget, off = run.asked.params["constraints.*.at_most"], 0.01 * run.recipe.seed
    if (run.number, run.seed) == (1, 1):
        return failed("its worker died")
    outcome = ConstraintOutcome(budget - off, budget, off, 0.001, 0.3)
    metrics = {"objective": 0.01 / budget + off, "value/max": budget - off, "feasible": 1.0, "violation/max": 0.0}
    for name in ("four", "five"):
        metrics |= {f"value/{name}": outcome.value, f"slack/{name}": off, f"slack_error/{name}": 0.001, f"budget/{name}": budget}
    both = {"four": outcome, "five": outcome}
    return Result("converged", "settled", 0.01 / budget + off, 0.001, both, "met", 60, 2.0, f"{run.folder}/step-60", metrics)


def train(runner: Runner, run: Run) -> None:
    runner.started(run)
    result = ended(run)
    points = [MetricPoint(30, {"objective": 9.0}, time=1.0), MetricPoint(60, result.metrics, final=True, time=2.0)]
    if result.status == "failed":
        runner.lost(run, result.reason)
    else:
        payload = {
            "step": 60,
            "steps": 60,
            "seconds": 2.0,
            "points": [each.to_json() for each in points],
            "result": result.to_json(),
        }
        runner.reported(run, payload)


def handed_out(runner: Runner) -> Iterator[Run]:
    while (following := runner.next()) is not None:
        yield following[0]


def go(plan: Plan, folder: Path) -> list[str]:
    """Runs the sweep to its end; the names of the trainings."""
    with conducted(plan, folder) as runner:
        runs = []
        for run in handed_out(runner):
            runs.append(run.name)
            train(runner, run)
    return runs


def records(folder: Path) -> dict[str, Any]:
    return {str(path.relative_to(folder)): json.loads(path.read_text()) for path in sorted((folder / "records").rglob("*.json"))}


def runs_of(plan: Plan) -> dict[str, dict[str, Run_]]:
    """MLflow's runs by kind, and by trial and seed."""
    client = MlflowClient(plan.tracking_uri)
    experiment = client.get_experiment_by_name(plan.experiment)
    assert experiment is not None
    kinds: dict[str, dict[str, Run_]] = {}
    for run in client.search_runs([experiment.experiment_id]):
        tags = run.data.tags
        kind, name = tags["dualsweep.kind"], f"{tags.get('dualsweep.trial', '')} {tags.get('dualsweep.seed', '')}".strip()
        assert name not in kinds.setdefault(kind, {}), "a run that is there twice"
        kinds[kind][name] = run
    return kinds


def test_trials_of_two_trainings_are_one_trial_in_records_and_study(swept: tuple[Plan, Path]) -> None:
    plan, folder = swept
    assert go(plan, folder) == []
    first, second, _ = TrialRecord.load_all(folder)
    budget = first.params["constraints.*.at_most"]
    assert first.result.objective == pytest.approx(0.01 / budget + 0.005)
    assert first.replicates is not None and list(first.replicates.runs) == [0, 1]
    assert first.result.constraints["four"].slack_error == pytest.approx(0.005)
    assert second.result.status == "converged"
    assert second.result.objective == pytest.approx(0.01 / second.params["constraints.*.at_most"])
    assert "seed 1 is left out: failed, its worker died" in second.result.reason
    with Study(plan, folder) as study:
        assert study.states == dict.fromkeys(range(3), "complete")


def test_they_are_one_trial_in_mlflow_with_a_run_for_each_training_below_it(swept: tuple[Plan, Path]) -> None:
    plan, folder = swept
    first, kinds = TrialRecord.load_all(folder)[0], runs_of(plan)
    [sweep], trials = kinds["sweep"].values(), kinds["trial"]
    assert sorted(trials) == ["0000", "0001", "0002"] and len(kinds["replicate"]) == 6
    for name, run in kinds["replicate"].items():
        trial, seed = name.split()
        assert run.data.tags["mlflow.parentRunId"] == trials[trial].info.run_id and run.data.params["seed"] == seed
        assert run.info.status == ("FAILED" if name == "0001 1" else "FINISHED")
    metrics, logged = trials["0000"].data.metrics, {name: each for name, each in first.metrics.items() if "budget/" not in name}
    assert trials["0000"].data.tags["mlflow.parentRunId"] == sweep.info.run_id
    assert metrics == pytest.approx(logged) and metrics["interval/objective"] > 0 and 0 < metrics["feasibility"] < 1
    there = {each.path for each in MlflowClient(plan.tracking_uri).list_artifacts(trials["0000"].info.run_id)}
    assert there == {"recipe.yaml", "result.json"}


def test_the_sweep_read_back_from_mlflow_is_the_one_in_the_folder(swept: tuple[Plan, Path]) -> None:
    plan, folder = swept
    records = sweep_record(plan, TrialRecord.load_all(folder)), read_sweep(plan.tracking_uri, plan.experiment)
    here, there = (each.trials for each in records)
    assert records[0].required == records[1].required == frozenset() and records[0].budgets == records[1].budgets
    for mine, read in zip(here, there, strict=True):
        assert (mine.trial_id, mine.replicates, mine.standing, mine.reason) == (read.trial_id, 2, read.standing, read.reason)
        assert mine.intervals == pytest.approx(read.intervals) and mine.metrics == pytest.approx(read.metrics)
        assert mine.feasibility == pytest.approx(read.feasibility)
    assert there[0].intervals.keys() >= {"objective", "slack/four"} and there[1].feasibility is None


def test_a_training_is_explained_and_a_trial_of_several_names_them(swept: tuple[Plan, Path]) -> None:
    plan, folder = swept
    (folder / "trials" / "0000" / "seed-1").mkdir(parents=True)
    kinds = runs_of(plan)
    from_folder = explain_run(str(folder / "trials" / "0000" / "seed-1"), None)
    from_mlflow = explain_run(kinds["replicate"]["0000 1"].info.run_id, plan.tracking_uri)
    assert from_folder.to_json() == from_mlflow.to_json() and from_folder.recipe.seed == 1
    other = explain_run(kinds["replicate"]["0000 0"].info.run_id, plan.tracking_uri)
    words = {each.verdicts[0].word for each in (from_folder, other)}
    assert set(kinds["trial"]["0000"].data.tags["dualsweep.verdict.four"].split(", ")) == words
    for trial in (str(folder / "trials" / "0000"), kinds["trial"]["0000"].info.run_id):
        with pytest.raises(InputError, match="name one of its trainings"):
            explain_run(trial, plan.tracking_uri)


def test_a_training_whose_processes_died_is_left_to_the_next_command_and_the_others_go_on(tmp_path: Path) -> None:
    plan, folder = planned(tmp_path), tmp_path / "out"
    with conducted(plan, folder) as runner:
        for run in handed_out(runner):
            if run.name == "0001-seed-0":
                runner.started(run)
                runner.interrupted(run, "its worker died (3 times)")
            else:
                train(runner, run)
    assert runner.broken_off == {"0001-seed-0": "its worker died (3 times)"}
    assert [record.number for record in TrialRecord.load_all(folder)] == [0, 2]
    left = runs_of(plan)["trial"]["0001"]
    assert left.info.status == "KILLED" and left.data.tags["dualsweep.status"] == "interrupted"
    assert go(plan, folder) == ["0001-seed-0"]
    assert [record.result.status for record in TrialRecord.load_all(folder)] == ["converged"] * 3


def broken_off(file: str, store: str, folder: str) -> None:
    """Runs the sweep in processes that are killed (-9) at their 4th, 17th, ... write, until one comes to the end."""
    plan, place = load_plan(file, [f"mlflow.tracking_uri={store}"]), Path(folder)
    for writes in itertools.count(4, 13):
        over = {f"{path.parent.name}-{path.stem}" for path in place.glob("records/*/seed-*.json")}
        process = os.fork()
        if process == 0:
            left = itertools.count(writes, -1)

            def kill(event: str, arguments: Any) -> None:
                written = event == "os.rename" or (event == "open" and set(str(arguments[1])) & {"a", "w"})
                if written and threading.current_thread() is threading.main_thread() and next(left) == 0:  # noqa: B023
                    os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(kill)
            again = over & set(go(plan, place))
            os._exit(7 if again else 0)
        _, status = os.waitpid(process, 0)
        if os.WIFEXITED(status):
            sys.exit(os.WEXITSTATUS(status))


def test_killed_at_any_write_it_comes_back_and_what_ended_is_not_run_again(swept: tuple[Plan, Path], tmp_path: Path) -> None:
    straight, whole_folder = swept
    plan = planned(tmp_path)
    code = "import sys; from tests.sweeps.test_runner import broken_off; broken_off(*sys.argv[1:])"
    parts = [sys.executable, "-c", code, str(tmp_path / "sweep.yaml"), plan.tracking_uri, str(tmp_path / "parts")]
    assert subprocess.run(parts, check=False, cwd=Path(__file__).parents[2]).returncode == 0
    assert records(tmp_path / "parts") == records(whole_folder)
    broken, whole = runs_of(plan), runs_of(straight)
    for kind in ("trial", "replicate"):
        assert broken[kind].keys() == whole[kind].keys()
        for name, run in whole[kind].items():
            assert broken[kind][name].info.status == run.info.status
            assert broken[kind][name].data.metrics == run.data.metrics


def test_a_training_whose_result_was_written_before_a_kill_is_not_run_again(tmp_path: Path) -> None:
    """Its last report never came: the final point is its result's, and stands there once."""
    plan, folder = planned(tmp_path), tmp_path / "out"
    with conducted(plan, folder) as runner:
        following = runner.next()
        assert following is not None
        run, result = following[0], ended(following[0])
        runner.started(run)
        point = MetricPoint(30, {"objective": 9.0}, time=1.0)
        payload = {"step": 30, "steps": 60, "seconds": 1.0, "points": [point.to_json()]}
        runner.reported(run, payload)
        assert runner.kept(run, payload) == [payload]
        write_files(run.output(str(folder)), {RESULT: json.dumps(result.to_json()).encode()})
    assert run.name not in go(plan, folder)
    child = runs_of(plan)["replicate"]["0000 0"]
    history = MlflowClient(plan.tracking_uri).get_metric_history(child.info.run_id, "objective")
    assert [(each.step, each.value) for each in history] == [(30, 9.0), (60, result.objective)]
    assert child.info.status == "FINISHED" and child.data.tags["dualsweep.status"] == "converged"


STEPS, EVERY = [101 + 10 * each for each in range(20)], [2 * each for each in range(1, 20) if each != 16]
#: Each choice makes a recipe by itself, and there are too many corners to try; odd steps and an even `every` make none.
UNLIKE = f"""\
name: unlike
recipe: recipe.yaml
search: {{train.steps: {{choice: {STEPS}}}, dual.every: {{choice: {EVERY}}}}}
sampler: {{name: random, seed: 0}}
trials: 3
seeds: 2
"""


def test_a_trial_whose_values_make_no_recipe_is_told_counted_and_seen_in_mlflow(tmp_path: Path) -> None:
    uri, _ = new_store(tmp_path, "another")
    write(tmp_path, UNLIKE, RECIPE.replace("steps: 1500", "steps: 232792560"))
    plan, folder, said = load_plan(tmp_path / "sweep.yaml", [f"mlflow.tracking_uri={uri}"]), tmp_path / "out", io.StringIO()
    for _ in range(2):  # the second finds nothing left
        with conducted(plan, folder, said) as runner:
            assert runner.next() is None
    rule = "`train.steps` must be a multiple of dual.every"
    assert [record.result.status for record in TrialRecord.load_all(folder)] == ["failed"] * 3
    lines = said.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines] == [f"trial {number:04d} failed after 0" for number in range(3)]
    assert all(rule in line and line.endswith(f"({2 * number + 2}/6)") for number, line in enumerate(lines))
    runs = runs_of(plan)["trial"]
    assert len(runs) == 3
    for run in runs.values():
        assert run.info.status == "FAILED" and rule in run.data.tags["dualsweep.reason"]
        assert run.data.params.keys() == {"train.steps", "dual.every"}
    here, there = (each.trials for each in (sweep_record(plan, TrialRecord.load_all(folder)), read_sweep(uri, plan.experiment)))
    assert [(each.status, each.reason, each.params) for each in here] == [
        (each.status, each.reason, each.params) for each in there
    ]
