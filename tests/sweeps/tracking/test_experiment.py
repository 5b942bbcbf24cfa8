"""The store that is written to, in folders whose names are special to a shell, to SQL or in a URL."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient

from dualsweep.analysis.tracking_uri import tracking_uri
from dualsweep.sweeps.planning.study_address import storage_url
from dualsweep.sweeps.tracking.experiment import client_of, experiment_of
from dualsweep.trainer.config.uris import of_file, sqlite_file

#: A quote of each kind ends MLflow's own SQL, a colon begins a parameter of it, and a `%41` is an A in a URL.
NAMES = ['it\'s "x" data:v2', "a?b%41 100% #c&d;$e[f]é"]


@pytest.mark.parametrize("name", NAMES)
def test_the_store_and_its_artifacts_lie_where_the_command_was_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    uri = tracking_uri()
    client = client_of(uri)
    run = client.create_run(experiment_of(client, uri, "it")).info.run_id
    (folder / "file.txt").write_text("here")
    client.log_artifact(run, "file.txt")
    assert [each.path for each in MlflowClient(uri).list_artifacts(run)] == ["file.txt"]
    optuna.create_study(study_name="it", storage=storage_url(of_file(folder / "study.db")))
    assert {each.name for each in folder.iterdir()} == {"mlflow.db", "study.db", "mlruns", "file.txt"}
    assert [each.name for each in tmp_path.iterdir()] == [name], "nothing lies elsewhere"
    assert sqlite_file(uri) == folder / "mlflow.db"
