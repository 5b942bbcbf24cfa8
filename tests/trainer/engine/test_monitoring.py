"""Looks at a training that goes on: what they see is known, and the training is the same bits with and without them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.assembly import prepare
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.loop import Loop
from dualsweep.trainer.engine.worker import run_worker
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.schedules import noise_schedule
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.sources.mixture import MixtureSource
from tests.margins import Sampled
from tests.trainer.engine.test_loop import aligned, check_resumed, run, without_time
from tests.trainer.recipes import digits

BANDS = 4
HELD: dict[str, Any] = {"data": {"holdout": 0.2}, "evaluation": {"loss_draws": 64, "grid": 16, "samples": 16}}
LOOKS: dict[str, Any] = {"every": 10, "samples": 16, "bands": BANDS, "draws": 64}
DROPOUT: dict[str, Any] = {"model": {"unet": {"channels": [8, 16], "dropout": 0.2}}, **HELD}


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any]:
    folder = tmp_path_factory.mktemp("seen")
    return folder, run(digits(**DROPOUT), folder / "without"), run(digits(**DROPOUT, monitor=LOOKS), folder / "with")


def test_the_training_is_the_same_bits_with_and_without(seen: tuple[Path, Any, Any]) -> None:
    _, (plain, plain_points, states, end), (looked, points, looked_states, looked_end) = seen
    assert without_time(plain.metrics) == without_time(looked.metrics)
    own = {step: {k: v for k, v in each.items() if not k.startswith("validation/")} for step, each in points.items()}
    assert {step: without_time(each) for step, each in own.items()} == {
        step: without_time(each) for step, each in plain_points.items()
    }
    assert states.keys() == looked_states.keys()
    for group, tensors in end.groups.items():
        assert all(torch.equal(value, looked_end.groups[group][name]) for name, value in tensors.items()), group


def test_a_look_at_the_end_sees_what_the_final_evaluation_measures(seen: tuple[Path, Any, Any]) -> None:
    folder = seen[0]
    made = sorted(each.name for each in (folder / "with" / "looks").iterdir())
    assert made == ["step-00000010.png", "step-00000020.png"]
    assert (folder / "with" / "looks" / made[-1]).read_bytes() == (folder / "with" / "samples.png").read_bytes()
    assert (folder / "with" / "looks" / made[0]).read_bytes() != (folder / "with" / "samples.png").read_bytes()
    assert not (folder / "without" / "looks").exists()


@pytest.mark.parametrize("staleness", [0, 1])
def test_each_look_is_told_with_the_point_of_its_step(tmp_path: Path, staleness: int) -> None:
    looked: dict[str, Any] = {"monitor": LOOKS | {"samples": 0}, "evaluation": {"loss_draws": 64, "samples": 0}}
    recipe = digits(data=HELD["data"], dual={"staleness": staleness}, **looked)
    host = LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(str(tmp_path / "checkpoints")))
    result = run_worker(recipe, host, str(tmp_path), str(tmp_path / "judges"))
    points = [point for report in host.reports for point in report["points"] if not point["final"]]
    assert [each["step"] for each in points] == [5, 10, 15, 20]
    told = [{k: v for k, v in each["metrics"].items() if k.startswith(("validation/", "system/look"))} for each in points]
    assert [len(each) for each in told] == [0, BANDS + 2, 0, BANDS + 2]
    assert result is not None and told[3]["system/look_seconds"] > 0
    assert told[3]["validation/objective"] == pytest.approx(result.metrics["eval/objective"], rel=1e-6)
    phases = [each["phase"] for each in host.reports]
    assert phases.count("looking") == 2 and phases[0] == "looking" and "training" in phases[1:]


class Silent(nn.Module):
    """Predicts 0, so that the loss at t is E v^2 = a + (1 - a) E x^2."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.weight * x


def right(x: Tensor) -> Tensor:
    return x[:, 0]


def silent(**monitor: Any) -> dict[str, Any]:
    return {
        "model": {"unet": None, "call": "tests.trainer.engine.test_monitoring:Silent"}, "data": {"holdout": 0.2},
        "schedule": {"timesteps": 200, "prediction": "v_prediction"}, "train": {"lr": 1e-12},
        "evaluation": {"samples": 0, "loss_draws": 64}, "monitor": {"every": 10, "samples": 0, **monitor},
    }  # fmt: skip


def loop_of(recipe: Any, folder: Path) -> Loop:
    host = LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(str(folder)))
    return Loop(prepare(recipe, host), lambda _: {})


def test_bands_are_the_losses_between_their_timesteps_on_held_out_data(tmp_path: Path, sampled: Sampled) -> None:
    recipe = digits(seed=sampled.seed, **silent(bands=BANDS, draws=8192))
    loop = loop_of(recipe, tmp_path)
    data = loop._prepared.data
    assert data is not None and loop._looks is not None
    rows = data.held_out_rows[0]
    square = float(data.examples.fetch(rows).double().square().mean())
    signal = noise_schedule(recipe, (1, 8, 8)).alphas_cumprod.double().numpy()
    known = (signal + (1 - signal) * square).reshape(BANDS, -1).mean(1)
    metrics = loop._looks.look(0, np.ones(3))
    for number, value in enumerate(known, start=1):
        sampled.near(f"band {number}", metrics[f"validation/band_{number}"], value, rel=0.03)
    assert metrics["validation/objective"] == pytest.approx(np.mean([metrics[f"validation/band_{k}"] for k in range(1, 5)]))


def test_bands_of_an_objective_of_which_nothing_is_held_out_are_not_told(tmp_path: Path) -> None:
    recipe = digits(**silent(bands=BANDS, draws=64), objective={"data": {"indices": [0, 1, 2]}})
    loop = loop_of(recipe, tmp_path)
    data = loop._prepared.data
    assert data is not None and loop._looks is not None
    assert len(data.split.held_out) and not len(data.held_out_rows[0])
    assert loop._looks.look(0, np.ones(3)).keys() == {"system/look_seconds"}


def test_the_shares_of_two_workers_are_the_whole(tmp_path: Path) -> None:
    recipe = digits(**silent(bands=BANDS, draws=60))
    sums = []
    for rank, world in ((0, 1), (0, 2), (1, 2)):
        source = loop_of(recipe, tmp_path).sources[0]
        assert isinstance(source, MixtureSource) and isinstance(source.setting.host, LocalHost)
        source.setting = replace(source.setting, host=replace(source.setting.host, rank=rank, world=world))
        own = source.held_out_by_band(BANDS, 60)
        assert own is not None
        sums.append(own)
    torch.testing.assert_close(sums[0], sums[1] + sums[2])
    assert bool((sums[1] > 0).any()) and bool((sums[2] > 0).any())


@pytest.mark.parametrize(("staleness", "every", "stop_at"), [(1, 6, 8), (0, 6, 8), (0, 10, 13)])
def test_an_interrupted_run_looks_again_where_it_would_have(tmp_path: Path, staleness: int, every: int, stop_at: int) -> None:
    recipe = digits(checkpoint={"every": every}, **HELD, monitor=LOOKS | {"samples": 0}, dual={"staleness": staleness})
    check_resumed(recipe, tmp_path, stop_at)


def test_a_picture_that_cannot_be_kept_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "looks").write_text("a file where the folder is to be")
    result, *_ = run(digits(**HELD, monitor={"every": 10}), tmp_path)
    assert result.steps == 20
    assert "the samples after step 10 are not kept" in caplog.text


def test_pictures_of_no_images_are_refused(tmp_path: Path) -> None:
    plain = aligned("backpropagation").model_dump(mode="json")
    plain["model"] |= {"shape": [2], "call": "tests.trainer.engine.test_monitoring:Silent"}
    plain["constraints"] = [{"name": "right", "reward": {"call": "tests.trainer.engine.test_monitoring:right"}, "at_least": 0.1}]
    recipe = Recipe.model_validate({**plain, "monitor": {"every": 10}})
    with pytest.raises(TrainingError, match=r"monitor.samples must go with images \[C, H, W\], but got samples of shape \[2\]"):
        loop_of(recipe, tmp_path)
