"""A trained model from MLflow: logged once, loaded by its address, and sampling as its checkpoint does."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import DiffusionPipeline, UNet2DModel
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from dualsweep.analysis.description import _how_to_sample
from dualsweep.analysis.front import find_front
from dualsweep.analysis.reading import read_sweep
from dualsweep.sweeps.tracking.exported_model import ASKED
from dualsweep.sweeps.tracking.models import TAG, _deliver, log_models
from dualsweep.sweeps.tracking.pyfunc import save
from dualsweep.trainer.engine.sample_command import generate, restore
from dualsweep.trainer.exporting.folder import write_pipeline
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.storage import MARKER, described
from tests.analysis.made_up import log_parent, log_trial, made_up_sweep, made_up_trials, new_store
from tests.trainer import exporting
from tests.trainer.models.test_build import train
from tests.trainer.recipes import digits


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    uri, _ = new_store(tmp_path)
    monkeypatch.setattr(mlflow.tracking._tracking_service.utils, "_tracking_uri", None)
    mlflow.set_tracking_uri(uri)  # only for `load_model`; the logging itself is told
    return uri


def test_captions_are_delivered_to_the_byte_and_places_without_their_logins(tmp_path: Path) -> None:
    captions = json.dumps(["a standard bearer photographed in 1900", "a note: password: swordfish"]).encode()
    content = {"captions.json": captions, "recipe.yaml": b"model: {load: 'sftp://me:secret-pw@nas/run'}\n"}
    into = tmp_path / "copy"
    (tmp_path / "checkpoint").mkdir()
    for name, data in content.items():
        (tmp_path / "checkpoint" / name).write_bytes(data)
    (tmp_path / "checkpoint" / MARKER).write_text(json.dumps({name: described(data) for name, data in content.items()}))
    assert _deliver(str(tmp_path / "checkpoint"), into)
    assert (into / "captions.json").read_bytes() == captions
    assert "secret-pw" not in (into / "recipe.yaml").read_text() and "nas/run" in (into / "recipe.yaml").read_text()


#: Run by a process that cannot import any of us: MLflow, torch and diffusers must do.
ELSEWHERE = """
import sys
sys.path.insert(0, sys.argv[1])
from elsewhere import Refusing
sys.meta_path.insert(0, Refusing())
import mlflow, numpy, pandas
mlflow.set_tracking_uri(sys.argv[2])
model = mlflow.pyfunc.load_model(sys.argv[3])
numpy.save("samples.npy", model.predict(pandas.DataFrame({"num_samples": [3, 2], "seed": [7, 8]})))
"""


def sampled_elsewhere(store: str, uri: str, folder: Path) -> np.ndarray:
    """Samples of a model, by a process of its own."""
    environment = {**os.environ, "HF_HOME": str(folder / "hub"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    command = [sys.executable, "-I", "-c", ELSEWHERE, str(Path(exporting.__file__).parent), store, uri]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    return np.asarray(np.load(folder / "samples.npy"))


def sampled_by_pipeline(checkpoint: str, folder: Path, count: int, seed: int) -> np.ndarray:
    """Samples in [-1, 1] of what `dualsweep export` writes."""
    folder.mkdir()
    write_pipeline(restore(checkpoint), folder)
    pipeline = DiffusionPipeline.from_pretrained(str(folder), custom_pipeline=str(folder), trust_remote_code=True)
    images = pipeline(count, generator=torch.Generator().manual_seed(seed), output_type="pt").images
    return np.asarray(2 * images.numpy() - 1)


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

    expected = sampled_by_pipeline(str(result.checkpoint), tmp_path / "pipeline", 3, 7)
    shutil.rmtree(tmp_path / "run")  # the run in MLflow holds all of it
    samples = sampled_elsewhere(store, made["0001"], tmp_path)
    assert samples.shape == (5, 1, 8, 8)
    np.testing.assert_allclose(samples[:3], expected, atol=1e-5)
    model = mlflow.pyfunc.load_model(made["0001"])
    assert model.metadata.metadata == {"dualsweep.needs": "nothing"}
    with pytest.raises(MlflowException, match="`num_samples` must be a whole number from 1 on, but got 0; write 1"):
        model.predict(pd.DataFrame({"num_samples": [0]}))
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


def test_a_model_whose_base_is_gone_is_logged_as_its_checkpoint_and_says_what_it_needs(tmp_path: Path) -> None:
    base = train(digits(train={"steps": 1}, evaluation={"samples": 0}), tmp_path / "base")
    adapter = {"load": str(base.checkpoint), "lora": {"rank": 2, "targets": ["linear_1"]}}
    adapted = digits(train={"steps": 1}, evaluation={"samples": 0}).model_dump(mode="json") | {"model": adapter}
    result = train(Recipe.model_validate(adapted), tmp_path / "run")
    save(tmp_path / "whole", Path(str(result.checkpoint)))
    (tmp_path / "base").rename(tmp_path / "away")
    save(tmp_path / "part", Path(str(result.checkpoint)))
    whole, part = (mlflow.models.get_model_info(str(tmp_path / name)) for name in ("whole", "part"))
    assert whole.metadata == {"dualsweep.needs": "nothing"} and part.metadata is not None
    assert str(tmp_path / "base") in part.metadata["dualsweep.needs"]
    assert part.signature.inputs.input_names() == ["num_samples", "seed", "steps", "label"]
    assert whole.signature.inputs.input_names() == ["num_samples", "seed", "prompt", "label", "guidance"]
    wanted = (tmp_path / "whole" / "requirements.txt").read_text()
    assert "torch==2" in wanted and "+" not in wanted and "dualsweep" not in wanted


def test_no_more_samples_are_made_together_than_the_model_was_evaluated_by(tmp_path: Path) -> None:
    recipe = digits(train={"steps": 1}, evaluation={"samples": 0, "batch_size": 2, "sample_steps": 2})
    checkpoint = str(train(recipe, tmp_path / "run").checkpoint)
    save(tmp_path / "model", Path(checkpoint))
    made: list[int] = []

    def noted(network: torch.nn.Module, given: tuple[Any, ...]) -> None:
        if isinstance(network, UNet2DModel):
            made.append(len(given[0]))

    hook = torch.nn.modules.module.register_module_forward_pre_hook(noted)
    try:
        samples = mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(pd.DataFrame({"num_samples": [5]}))
        assert made == [2, 2, 2, 2, 1, 1] and len(samples) == 5
        made.clear()
        generate(checkpoint, 5, tmp_path / "samples", sampler=None, steps=None, seed=0)
        assert made == [2, 2, 2, 2, 1, 1]
    finally:
        hook.remove()


def test_what_the_review_says_of_sampling_is_what_the_models_take() -> None:
    """By a row with these columns, which the review's page in MLflow names."""
    record = made_up_sweep(5)
    front = find_front(record)
    said = _how_to_sample(front, {trial.trial_id: "models:/m" for trial in front.trials})
    columns = re.findall(r"`(\w+)`", said.partition("one row with")[2].partition("for each batch")[0])
    assert columns and set(columns) <= set(ASKED)
