"""A trained model from MLflow: logged once, loaded by its address, and sampling as its checkpoint does."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from dualsweep.analysis.front import find_front
from dualsweep.analysis.reading import read_sweep
from dualsweep.sweeps.tracking.models import TAG, log_models
from dualsweep.trainer.engine.sample_command import generate
from tests.analysis.made_up import log_parent, log_trial, made_up_trials, new_store
from tests.trainer.models.test_build import train
from tests.trainer.recipes import digits


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    uri, _ = new_store(tmp_path)
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", None)
    mlflow.set_tracking_uri(uri)  # only for `load_model`; the logging itself is told
    return uri


def test_the_fronts_model_is_loaded_and_samples(store: str, tmp_path: Path) -> None:
    result = train(digits(train={"steps": 4}), tmp_path / "run")
    parent = log_parent(store, "1")
    first = made_up_trials(1)[0]
    best = replace(
        first, trial_id="0001", metrics={name: value - 1.0 * (name == "objective") for name, value in first.metrics.items()}
    )
    runs = [log_trial(store, "1", parent, trial) for trial in (first, best)]
    client = MlflowClient(store)
    client.log_dict(runs[1], {"checkpoint": result.checkpoint}, "result.json")
    said: list[str] = []
    front = find_front(read_sweep(store, parent))
    made = log_models(store, front, said.append)
    assert made == {"0001": f"runs:/{runs[1]}/model"} and said == []
    assert TAG not in client.get_run(runs[0]).data.tags

    model = mlflow.pyfunc.load_model(made["0001"])
    expected = generate(str(result.checkpoint), 3, tmp_path / "samples", sampler=None, steps=5, seed=7).numpy()
    shutil.rmtree(tmp_path / "run")  # the run in MLflow holds all of it
    table = pd.DataFrame({"count": [3, 2], "seed": [7, 8], "steps": [5, 5]})
    samples = model.predict(table)
    assert samples.shape == (5, 1, 8, 8)
    np.testing.assert_array_equal(samples[:3], expected)
    assert model.predict(pd.DataFrame({"count": [1]})).shape == (1, 1, 8, 8)
    with pytest.raises(ValueError, match="count of at least 1"):
        model.predict(pd.DataFrame({"count": [0]}))
    files = [path.name for path in (tmp_path / "artifacts").rglob("model/**/*.safetensors")]
    assert files == ["diffusion_pytorch_model.safetensors"]  # nothing of the optimiser
    again = find_front(read_sweep(store, parent))
    assert log_models(store, again, said.append) == made and said == []  # it is there already, and its checkpoint is gone


def test_a_checkpoint_that_is_gone_is_said_and_nothing_else_happens(store: str) -> None:
    parent = log_parent(store, "1")
    run = log_trial(store, "1", parent, made_up_trials(1)[0])
    MlflowClient(store).log_dict(run, json.loads('{"checkpoint": "/nowhere/step-00000004"}'), "result.json")
    said: list[str] = []
    assert log_models(store, find_front(read_sweep(store, parent)), said.append) == {}
    assert said == ["no model was logged for trial 0000: the checkpoint cannot be reached from here"]
