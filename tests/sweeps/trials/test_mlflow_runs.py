"""What MLflow gets of trials: their picture of trajectories, unless the sweep wants none."""

from __future__ import annotations

from pathlib import Path

from mlflow import MlflowClient

from tests.sweeps.in_process import again, finished


def pictures(folder: Path) -> list[str]:
    """The runs of `folder`'s sweep that have a picture of trajectories, by name."""
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("s")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    having = [run for run in runs if "trajectories.png" in {each.path for each in client.list_artifacts(run.info.run_id)}]
    return sorted(str(run.info.run_name) for run in having)


def test_each_training_and_each_trial_has_its_trajectories(ended: Path) -> None:
    names = [f"trial {trial:04}{rest}" for trial in (0, 1) for rest in ("", " seed 0", " seed 1")]
    assert pictures(ended) == sorted(names)


def test_a_sweep_that_wants_no_trajectories_draws_none(tmp_path: Path) -> None:
    store = {"tracking_uri": "sqlite:///mlflow.db", "trajectories": False}
    again(finished(tmp_path, seeds=2, trials=1, mlflow=store))
    assert pictures(tmp_path) == [] and not list(tmp_path.rglob("trajectories.png"))
