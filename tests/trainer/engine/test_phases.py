"""A training says what it does after its last step: measuring, sampling with how much of it, judging, writing."""

from __future__ import annotations

import pytest

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.worker import run_worker
from dualsweep.trainer.metric_point import Payload
from tests.trainer.recipes import digits


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[Payload]:
    folder = tmp_path_factory.mktemp("phases")
    recipe = digits(train={"steps": 10}, evaluation={"samples": 20, "batch_size": 6, "sample_steps": 2})
    host = LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(str(folder / "checkpoints")))
    run_worker(recipe, host, str(folder), str(folder / "judges"))
    return host.reports


def test_the_phases_come_in_order(reports: list[Payload]) -> None:
    assert list(dict.fromkeys(each["phase"] for each in reports)) == ["training", "measuring", "sampling", "judging", "writing"]
    assert "result" in reports[-1] and reports[-1]["phase"] == "writing"
    assert all(each["step"] == 10 for each in reports if each["phase"] != "training")


def test_sampling_says_how_much_of_it_is_done(reports: list[Payload]) -> None:
    assert [each["phase_share"] for each in reports if each["phase"] == "sampling"] == [
        0.0,
        0.3,
        0.6,
        0.9,
    ]  # of 20, six at a time


def test_the_last_step_is_reported_once_in_training(reports: list[Payload]) -> None:
    assert [each["step"] for each in reports if each["phase"] == "training"] == [10]
