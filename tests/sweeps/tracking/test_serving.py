"""`mlflow models serve` and `predict` in an environment that has no dualsweep: what was reported is what requests get."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch

from dualsweep.sweeps.tracking.pyfunc import save
from dualsweep.trainer.result import Result
from tests.margins import Sampled
from tests.sweeps.tracking.apart import Apart, Server
from tests.trainer.exporting.test_reported import BOUND, measured_differences, reward_differences, rewarded, small_unet
from tests.trainer.models.test_build import train
from tests.trainer.recipes import digits

pytestmark = pytest.mark.dear

#: A network of one's own, whose module is carried.
OWN = """
import torch


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x, t):
        return self.layer(x)
"""


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Apart:
    return Apart(tmp_path_factory.mktemp("apart"))


def samples_of(server: Server, request: dict[str, Any]) -> torch.Tensor:
    status, said = server.ask(request)
    assert status == 200, said
    return torch.tensor(said)


def logged(result: Result, folder: Path) -> Path:
    save(folder, Path(str(result.checkpoint)))
    return folder


def test_accuracy_and_shares_are_those_that_were_reported(sampled: Sampled, apart: Apart, tmp_path: Path) -> None:
    recipe = digits(
        seed=sampled.seed, schedule={"timesteps": 100},
        train={"steps": 120, "batch_size": 32, "condition_dropout": 0.1, "lr": 5e-3},
        model={"condition": "labels", "guidance": 1.5}, evaluation={"samples": 400, "sample_steps": 8, "judge": {"epochs": 3}},
    )  # fmt: skip
    result = train(recipe, tmp_path / "run")
    with apart.served(logged(result, tmp_path / "labels")) as server:
        samples = samples_of(server, {"dataframe_records": [{"num_samples": 400, "seed": 1000 + sampled.seed}]})
        check_requests(server)
    names = {"frechet": "frechet_error", "accuracy": "accuracy_error"} | {
        f"share/{digit}": f"share_error/{digit}" for digit in range(10)
    }
    asked = np.arange(400) % 10
    differences = measured_differences(recipe, result, tmp_path / "run", samples, names, asked)
    sampled.near("differences", differences, 0.0, abs=BOUND)


def check_requests(server: Server) -> None:
    """By rows or by params it is the same; what a request must not say is told with its way out."""
    by_row = samples_of(server, {"dataframe_records": [{"num_samples": 2, "seed": 3, "label": "7", "guidance": 3.0}]})
    params = {"num_samples": 2, "seed": 3, "label": "7", "guidance": 3.0}
    assert torch.equal(samples_of(server, {"dataframe_records": [{}], "params": params}), by_row)
    assert torch.equal(samples_of(server, {"inputs": {"num_samples": [2], "label": ["7"]}, "params": params}), by_row)
    others = {**params, "label": "3"}, {**params, "guidance": 1.0}, {**params, "seed": 4}
    assert not any(torch.equal(samples_of(server, {"dataframe_records": [each]}), by_row) for each in others)
    for row, said in (
        ({"label": "cat"}, "`label` must be of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, but got 'cat'"),
        ({"prompt": "a pear"}, "`prompt` must go with a model of text, but this one takes no text; leave it out"),
        ({"num_samples": 0}, "`num_samples` must be a whole number from 1 on, but got 0; write 1"),
        ({"count": 4}, 'write {"dataframe_records": [{"num_samples": 4}]}'),
    ):
        status, refused = server.ask({"dataframe_records": [row]})
        assert status == 400 and said in refused


def test_rewards_are_those_that_were_reported(sampled: Sampled, apart: Apart, tmp_path: Path) -> None:
    result = train(rewarded(small_unet(tmp_path / "unet"), sampled.seed), tmp_path / "run")
    with apart.served(logged(result, tmp_path / "aligned")) as server:
        request = {"dataframe_records": [{"num_samples": 512, "seed": 1000 + sampled.seed}]}
        samples = samples_of(server, request)
    sampled.near("differences", reward_differences(result, samples), 0.0, abs=BOUND)


def test_a_network_of_ones_own_comes_with_its_code(apart: Apart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_network_of_mine.py").write_text(OWN)
    result = train(digits(train={"steps": 3}, model={"unet": None, "call": "a_network_of_mine:Network"}), tmp_path / "run")
    model = logged(result, tmp_path / "own")
    assert sorted(each.name for each in (model / "code").iterdir()) == ["a_network_of_mine.py", "dualsweep"]
    assert "dualsweep" not in (model / "requirements.txt").read_text()
    request = tmp_path / "request.json"
    request.write_text(json.dumps({"dataframe_records": [{"num_samples": 3, "seed": 7}]}))
    predict = ["models", "predict", "-m", str(model), "--env-manager", "local", "-i", str(request), "-o", str(tmp_path / "out")]
    apart.run("-m", "mlflow", *predict)
    ours = mlflow.pyfunc.load_model(str(model)).predict(pd.DataFrame({"num_samples": [3], "seed": [7]}))
    np.testing.assert_allclose(json.loads((tmp_path / "out").read_text())["predictions"], ours, atol=1e-4)
