"""A sweep that has ended is the same one wherever its folder and its MLflow are now, and whatever was deleted there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.sweeps.in_process import again

RUNS = {"sweep": 1, "trial": 2, "replicate": 4}


def runs(folder: Path, name: str = "mlflow.db") -> list[Run]:
    client = MlflowClient(f"sqlite:///{folder / name}")
    experiment = client.get_experiment_by_name("s")
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


def delivered(folder: Path, name: str = "mlflow.db") -> tuple[dict[str, int], Counter[tuple[str, ...]]]:
    """How many runs there are of each kind, and each run's points by what it is of."""
    client, there, points = MlflowClient(f"sqlite:///{folder / name}"), runs(folder, name), Counter[tuple[str, ...]]()
    parent = next(each.info.run_id for each in there if each.data.tags["dualsweep.kind"] == "sweep")
    trials = {
        each.data.tags["dualsweep.trial"]: each.info.run_id for each in there if each.data.tags["dualsweep.kind"] == "trial"
    }
    for run in there:
        tags = run.data.tags
        below = {"sweep": None, "trial": parent, "replicate": trials.get(tags.get("dualsweep.trial", ""))}
        assert tags.get("mlflow.parentRunId") == below[tags["dualsweep.kind"]]
        key = (tags["dualsweep.kind"], tags.get("dualsweep.trial", ""), tags.get("dualsweep.seed", ""))
        points[key] = sum(len(client.get_metric_history(run.info.run_id, name)) for name in run.data.metrics)
    return dict(Counter(each.data.tags["dualsweep.kind"] for each in there)), points


def test_what_is_moved_whole_is_the_same_sweep(ended: Path, moved: Path) -> None:
    before = delivered(ended)
    said = again(moved)
    assert before[0] == RUNS and delivered(moved) == before
    assert "no longer there" not in said and "lies outside" not in said


@pytest.mark.parametrize(
    "lost",
    [pytest.param(("tracking.json",), marks=pytest.mark.dear), pytest.param(("sweep.json",), marks=pytest.mark.dear),
     ("tracking.json", "sweep.json")],
)  # fmt: skip
def test_the_same_command_after_a_file_of_ours_was_lost(lost: tuple[str, ...], ended: Path, moved: Path) -> None:
    identity = {each.data.tags["dualsweep.sweep"] for each in runs(ended)}
    for name in lost:
        (moved / "runs" / "s" / name).unlink()
    again(moved)
    assert delivered(moved) == delivered(ended)
    assert {each.data.tags["dualsweep.sweep"] for each in runs(moved)} == identity


@pytest.mark.dear
def test_another_store_gets_all_of_it_once_and_the_first_one_again_nothing(ended: Path, moved: Path) -> None:
    file = moved / "sweep.yaml"
    plain = yaml.safe_load(file.read_text())
    for place in ("sqlite:///other.db", "sqlite:///mlflow.db", "sqlite:///other.db"):
        file.write_text(yaml.safe_dump({**plain, "mlflow": {"tracking_uri": place}}))
        again(moved)
    assert delivered(moved) == delivered(ended)
    assert delivered(moved, "other.db") == delivered(ended)


def _of(kind: str, count: int = 1) -> Callable[[Run], bool]:
    left = iter(range(count))
    return lambda run: run.data.tags["dualsweep.kind"] == kind and next(left, None) is not None


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("sweep", 1),
        ("trial", 1),
        pytest.param("replicate", 1, marks=pytest.mark.dear),
        pytest.param("replicate", 4, marks=pytest.mark.dear),
    ],
    ids=["parent", "child", "below", "all"],
)
def test_runs_that_were_deleted_are_made_again_without_doubles(kind: str, count: int, ended: Path, moved: Path) -> None:
    client, deleted = MlflowClient(f"sqlite:///{moved / 'mlflow.db'}"), _of(kind, count)
    for run in filter(deleted, runs(moved)):
        client.delete_run(run.info.run_id)
    again(moved)
    assert delivered(moved) == delivered(ended)
    assert {each.info.status for each in runs(moved)} == {"FINISHED"}
