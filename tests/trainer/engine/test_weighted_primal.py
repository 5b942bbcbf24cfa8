"""The primal of a composed model: its prediction follows the multipliers, and nothing of it is trained or stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.assembly import prepare
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.primal import Primal
from dualsweep.trainer.sources.base import AuxiliaryNetwork
from tests.known.test_composition import composed


@pytest.fixture
def primal(tmp_path: Path) -> Primal:
    recipe = composed("composition_and", ["left", "right"], "kl", [1], dual={"rule": "simplex"}, train={"steps": 1})
    return prepare(recipe, LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(str(tmp_path)))).primal


def test_a_step_takes_the_multipliers_and_the_delivered_model_gives_them_back(primal: Primal) -> None:
    x, t = torch.randn(3, 1), torch.tensor([0, 5, 9])
    parts = []
    for coefficients in ([0.0, 1.0, 0.0], [0.0, 0.0, 1.0]):
        primal.begin(0, np.array(coefficients))
        parts.append(primal.predict(x, t))
    with primal.averaged(np.array([0.0, 0.25, 0.75])) as model:
        torch.testing.assert_close(model(x, t), 0.25 * parts[0] + 0.75 * parts[1])
    assert torch.equal(primal.predict(x, t), parts[1]) and not torch.equal(parts[0], parts[1])


def test_nothing_is_trained_or_stored(primal: Primal) -> None:
    assert primal.state() == ({}, {}) and primal.update([lambda: torch.tensor(2.0)]) == 0.0
    primal.train_beside({})
    with pytest.raises(ValueError, match=r"no network to train beside it, but got \['flow'\]"):
        primal.train_beside({"flow": AuxiliaryNetwork(torch.nn.Linear(1, 1), 0.1)})
