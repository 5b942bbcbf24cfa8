"""`dualsweep sweep` and `dualsweep front` on a real local Ray and a real MLflow, which isn't there at first.

Every secret is a marked word: MLflow's login, keys in the environment. Nothing written has the mark.
"""

from __future__ import annotations

import csv
import json
import math
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import optuna
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from dualsweep.analysis.hypervolume import hypervolume
from dualsweep.analysis.server import ui
from dualsweep.sweeps.reports.explaining import explain_run
from tests.cluster.live.conftest import free_ports
from tests.pipeline.conftest import RECIPE, SWEEP, assert_nothing_left, here, run, working_directory
from tests.pipeline.runs_in_mlflow import COURSE, CURVES, artifacts, assert_whole_curve, curves, runs_of

pytestmark = [pytest.mark.ray, pytest.mark.slow]

MARK = "Zq7mark"
KEYS = {
    "AWS_ACCESS_KEY_ID": f"{MARK}1", "AWS_SECRET_ACCESS_KEY": f"{MARK}2", "AWS_SESSION_TOKEN": f"{MARK}3",
    "HF_TOKEN": f"{MARK}4", "WANDB_API_KEY": f"{MARK}5", "PGPASSWORD": f"{MARK}6", "SOME_TOKEN": f"{MARK}7",
}  # fmt: skip


def check_json(plain: dict[str, Any], count: int) -> None:
    """The contract of the `--json` file, and that its parts agree with each other."""
    assert [each["id"] for each in plain["trials"]] == [f"{number:04d}" for number in range(count)]
    by_id = {each["id"]: each for each in plain["trials"]}
    for trial in plain["trials"]:
        assert {"id", "status", "params", "objective", "constraints", "steps", "seconds", "checkpoint"} <= trial.keys()
        assert set(trial["params"]) == {"dual.step_size", "constraints.*.at_most"}
        assert trial["steps"] == (60 if trial["continued_from"] is None else 40)
        assert 0.01 <= trial["params"]["dual.step_size"] <= 0.2
        for each in trial["constraints"].values():
            assert each["budget"] == trial["params"]["constraints.*.at_most"] and each["kind"] == "at_most"
            assert each["slack"] == pytest.approx(each["budget"] - each["value"]) and each["multiplier"] >= 0
    assert plain["front"] and {trial["feasible"] for trial in plain["trials"]} <= {"met", "violated", "undecided"}
    # The searched budget is a knob, as `value/max` is an objective: every trial counts by what it attained.
    points = [(trial["objective"], trial["metrics"]["value/max"]) for trial in plain["trials"]]
    front = [(by_id[each]["objective"], by_id[each]["metrics"]["value/max"]) for each in plain["front"]]
    better = {point for point in points if not any(a != point and a[0] <= point[0] and a[1] <= point[1] for a in points)}
    assert set(front) == better
    volume = hypervolume(front, ["minimize", "minimize"], plain["reference_point"])
    assert plain["hypervolume"] == pytest.approx(volume) and math.isfinite(volume)
    assert {price["trial"] for price in plain["prices"]} >= set(plain["front"]) and plain["recommended"]["knee_reason"]
    assert all(each["multiplier_error"] >= 0 for trial in plain["trials"] for each in trial["constraints"].values())


def assert_shown(child: Run, metrics: Mapping[str, float]) -> None:
    """A run has these metrics but for its budgets, which do not change and are a tag, and beside its course."""
    shown = {name: value for name, value in child.data.metrics.items() if not name.startswith("course/")}
    budgets = {name.removeprefix("budget/"): value for name, value in metrics.items() if name.startswith("budget/")}
    assert shown == pytest.approx({name: value for name, value in metrics.items() if not name.startswith("budget/")})
    assert json.loads(child.data.tags["dualsweep.bounds"]) == pytest.approx(budgets)


def check_mlflow(folder: Path, store: str, plain: dict[str, Any]) -> None:
    """What reviewers rely on in the MLflow UI (design.md §4), of trials that are two trainings."""
    client, parent, children = runs_of(store)
    assert parent.info.status == "FINISHED" and artifacts(client, parent) >= {"front.html", "front.png", "trials.csv"}
    assert sorted(children) == [f"{each['id']}{run}" for each in plain["trials"] for run in ("", "/seed-0", "/seed-1")]
    for trial in plain["trials"]:
        check_trainings(client, folder, store, trial, children)
        child = children[trial["id"]]
        tags, params = child.data.tags, child.data.params
        assert child.info.status == "FINISHED" and tags["dualsweep.status"] == trial["status"]
        assert tags["dualsweep.front"] == ("true" if trial["id"] in plain["front"] else "false")
        assert json.loads(tags["dualsweep.params"]) == trial["params"]
        quicker = 60 / 40 if trial["continued_from"] else 1  # so that the multipliers go as far in fewer steps
        assert float(params["dual.step_size"]) == pytest.approx(trial["params"]["dual.step_size"] * quicker)
        assert float(params["constraints.five.at_most"]) == trial["params"]["constraints.*.at_most"]
        assert params["train.steps"] == str(trial["steps"]) and params["data.keep.4"] == "0.1"
        assert tags.get("dualsweep.continued_from") == trial["continued_from"]
        assert child.data.metrics.keys() >= CURVES and tags["dualsweep.replicates"] == "2"
        intervals = {f"interval/{name}": half for name, half in trial["intervals"].items()}
        reviewed = {"pareto/front": float(trial["id"] in plain["front"]), "pareto/rank": float(tags["dualsweep.rank"])}
        expected = trial["metrics"] | intervals | reviewed | {"feasibility": trial["feasibility"]}
        assert_shown(child, expected)
        assert artifacts(client, child) >= {"recipe.yaml", "samples.png", "trajectories.png", "result.json"}
        named = {plain["recommended"]["knee"], plain["recommended"]["preferred"]}
        assert (tags["dualsweep.recommended"] != "none") == (trial["id"] in named)


def check_trainings(client: MlflowClient, folder: Path, store: str, trial: dict[str, Any], children: dict[str, Run]) -> None:
    """Each training has a run of its own below the trial's; the trial's figures are their means."""
    assert [each["seed"] for each in trial["replicates"]] == [0, 1]
    objectives = [each["objective"] for each in trial["replicates"]]
    assert trial["objective"] == pytest.approx(sum(objectives) / 2) and objectives[0] != objectives[1]
    for training in trial["replicates"]:
        name = f"{trial['id']}/seed-{training['seed']}"
        child = children[name]
        assert child.info.status == "FINISHED" and child.data.params["seed"] == str(training["seed"])
        assert_shown(child, training["metrics"])
        assert {name for name in child.data.metrics if name.startswith("course/")} == COURSE
        assert child.data.tags.get("dualsweep.continued_from") == trial["continued_from"]
        if trial["continued_from"] is not None:
            neighbour = folder / "runs" / "tiny-sweep" / "trials" / trial["continued_from"] / f"seed-{training['seed']}"
            assert child.data.params["start.from"] == str(neighbour / "checkpoints" / "step-00000060")
        assert_whole_curve(curves(client, child), trial["steps"])
        assert artifacts(client, child) >= {"recipe.yaml", "samples.png", "trajectories.png", "result.json", "explain.md"}
        verdicts = json.loads((folder / "runs" / "tiny-sweep" / "artifacts" / name / "verdicts.json").read_text())
        assert [one["name"] for one in verdicts] == ["four", "five"]
        assert all(child.data.tags[f"dualsweep.verdict.{one['name']}"] == one["word"] for one in verdicts)
        # The same from MLflow alone, and from the training's folder.
        assert explain_run(child.info.run_id, store).to_json() == verdicts
        assert explain_run(str(folder / "runs" / "tiny-sweep" / "trials" / name), None).to_json() == verdicts


def check_study(folder: Path, plain: dict[str, Any]) -> None:
    """The study in the database of the user's: means as values, slacks beyond the tolerance as constraints, none left running."""
    kept = json.loads((folder / "runs" / "tiny-sweep" / "study.json").read_text())
    study = optuna.load_study(study_name=kept["study"], storage=f"sqlite:///{folder}/study.db")
    for trial, told in zip(plain["trials"], study.trials, strict=True):
        assert told.state.name == "COMPLETE" and told.params == trial["params"]
        assert told.values == pytest.approx([trial["objective"], trial["metrics"]["value/max"]])
        assert {name: -told.constraints[name] for name in ("four", "five")} == pytest.approx(
            {name: each["slack"] + each["tolerance"] for name, each in trial["constraints"].items()}
        )


class Swept(NamedTuple):
    """A sweep of two trials of two trainings, the second continued from the first; then the same twice, and `front`.

    `told` is what all these commands and some others have said, `session` where Ray's logs lie.
    """

    folder: Path
    elsewhere: Path
    session: Path
    store: str
    without_mlflow: str
    delivered: str
    again: str
    front: str
    told: str
    first: dict[str, Any]
    second: dict[str, Any]
    runs: list[dict[str, Any]]

    @property
    def rebuilt(self) -> dict[str, Any]:
        """The JSON file of `front`."""
        plain: dict[str, Any] = json.loads((self.elsewhere / "front.json").read_text())
        return plain


def infos(store: str) -> dict[str, Any]:
    """What MLflow tells of each run beside its data, the sweep's own under ``."""
    _, parent, children = runs_of(store)
    return {"": parent.info, **{name: child.info for name, child in children.items()}}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swept]:
    """MLflow can't be reached the first time; the same command then finds it; a third time there is nothing to do."""
    [port] = free_ports(1)
    login = f"http://joe:{MARK}0@127.0.0.1:{port}"
    plain = {**SWEEP, "trials": 2, "seeds": 2, "storage": "sqlite:///study.db", "continuation": {"steps": 40}, "concurrency": 1}
    plain |= {"mlflow": {"tracking_uri": login}}
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    # Ray's session lies at a short path: those of its sockets have an end at 107 characters.
    with working_directory(tmp_path_factory.mktemp("swept")) as folder, tempfile.TemporaryDirectory(prefix="ray") as session:
        secrets = {**KEYS, "RAY_TMPDIR": session}
        (folder / "recipe.yaml").write_text(yaml.safe_dump({**RECIPE, "model": {"call": "parts:good"}}))
        (folder / "sweep.yaml").write_text(yaml.safe_dump(plain))
        without = run(folder, "sweep", "sweep.yaml", "--json", "r.json", code=0, **secrets)
        assert_nothing_left(folder)
        store = f"http://127.0.0.1:{port}"
        with ui(f"sqlite:///{folder}/server.db", artifacts_destination=str(folder / "artifacts"), port=port):
            delivered = run(folder, "sweep", "sweep.yaml", "--json", "again.json", code=0, **secrets)
            runs = [infos(store)]
            again = here(folder, "sweep", "sweep.yaml", environment=secrets)
            runs.append(infos(store))
            front = ["front", "tiny-sweep", "--tracking-uri", login, "--output", "other", "--json", "front.json"]
            said = here(elsewhere, *front, environment=secrets)
            told = without + delivered + again + said
            told += here(folder, "explain", "runs/tiny-sweep", environment=secrets) + here(
                folder, "check", "sweep.yaml", environment=secrets
            )
            (folder / "sweep.yaml").unlink()
            first, second = (json.loads((folder / name).read_text()) for name in ("r.json", "again.json"))
            yield Swept(
                folder, elsewhere, Path(session), store, without, delivered, again, said, told, first, second, runs
            )  # fmt: skip


def test_without_mlflow_a_sweep_ends_with_its_front_and_says_once_what_is_missing(swept: Swept) -> None:
    said = swept.without_mlflow
    assert (
        said.count(f"{swept.store.removeprefix('http://')} cannot be written to") == 1
        and said.count("were not delivered to MLflow") == 1
    ), said
    assert (swept.folder / "runs" / "tiny-sweep" / "front.html").stat().st_size > 1000 and "front.html" in said


def test_the_json_file(swept: Swept) -> None:
    check_json(swept.first, 2)
    assert [each["continued_from"] for each in swept.first["trials"]] == [None, "0000"]


def test_the_study(swept: Swept) -> None:
    check_study(swept.folder, swept.first)


def test_the_same_command_delivers_everything_and_trains_nothing(swept: Swept) -> None:
    """So that MLflow has what reviewers rely on."""
    for said in (swept.delivered, swept.again):
        assert "starts" not in said and "not delivered" not in said and "cannot be written" not in said, said
    assert swept.second == swept.first
    check_mlflow(swept.folder, swept.store, swept.first)


def test_a_third_time_no_run_is_touched(swept: Swept) -> None:
    first, second = swept.runs
    assert first.keys() == second.keys() and first[""].run_id == second[""].run_id
    assert first[""].start_time == second[""].start_time
    assert {name: first[name] for name in first if name} == {name: second[name] for name in first if name}


def test_its_front_from_mlflow_alone(swept: Swept) -> None:
    """In a folder that has nothing of the sweep."""
    parts = ("front", "hypervolume", "reference_point", "recommended", "prices")
    assert swept.rebuilt == {key: swept.first[key] for key in parts}
    assert all(each in swept.front for each in swept.first["front"])
    assert {"front.html", "front.png", "trials.csv"} <= {each.name for each in (swept.elsewhere / "other").iterdir()}
    with (swept.elsewhere / "other" / "trials.csv").open() as file:
        assert {row["trial"]: row["continued_from"] for row in csv.DictReader(file)} == {"0000": "", "0001": "0000"}


def test_no_secret_is_in_anything_that_is_said_or_written(swept: Swept) -> None:
    assert MARK not in swept.told
    marked = [
        str(path)
        for folder in (swept.folder, swept.elsewhere, swept.session)
        for path in folder.rglob("*")
        if path.is_file() and MARK.encode() in path.read_bytes()
    ]
    assert marked == []
    assert any(swept.session.rglob("runtime_env_agent.log")), "Ray's logs were elsewhere"
