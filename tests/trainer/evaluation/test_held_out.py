"""A class of few examples that are learned by heart meets its budget on them, and misses it on data that were held out."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.worker import run_worker
from dualsweep.trainer.recipe.dual import Dual
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result
from dualsweep.trainer.verdicts.judge import verdicts

SIZE, RARE, COMMON = 16, 6, 400


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(SIZE + 1, 256), nn.SiLU(), nn.Linear(256, 256), nn.SiLU(), nn.Linear(256, SIZE))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        found: Tensor = self.layers(torch.cat([x, t[:, None] / 50.0], dim=1))
        return found


def network() -> nn.Module:
    return Network()


def points() -> tuple[Tensor, Tensor]:
    """Standard normal [N, SIZE], of which `RARE` and as many again to be held out are class 1."""
    x = torch.randn(COMMON + 2 * RARE, SIZE, generator=torch.Generator().manual_seed(0))
    return x, (torch.arange(len(x)) >= COMMON).long()


def recipe(budget: float) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "rare",
            "formulation": "constrained_training",
            "model": {"call": "tests.trainer.evaluation.test_held_out:network", "shape": [SIZE]},
            "schedule": {"timesteps": 50},
            "data": {"call": "tests.trainer.evaluation.test_held_out:points", "holdout": 0.5},
            "constraints": [{"name": "rare", "data": {"classes": [1]}, "at_most": budget}],
            "dual": {"step_size": 1.0},
            "train": {"steps": 800, "batch_size": 128, "lr": 3e-3, "log_every": 20},
            "evaluation": {"samples": 0, "loss_draws": 1024, "metrics": []},
            "checkpoint": {"every": 10_000},
        }
    )


def trained(folder: Path, budget: float) -> Result:
    asked = recipe(budget)
    host = LocalHost(InProcess(controller_of(asked)), CheckpointFolder(str(folder / "checkpoints"), 1))
    result = run_worker(asked, host, str(folder))
    assert result is not None
    return result


def test_what_is_learned_by_heart_is_met_on_training_data_and_violated_on_held_out_data(tmp_path: Path) -> None:
    result = trained(tmp_path, budget=0.3)
    rare = result.constraints["rare"]
    assert rare.slack > 3 * rare.slack_error, "met, were there no held-out data"
    assert rare.held_out is not None and rare.held_out.images == RARE
    assert rare.held_out.slack < -3 * rare.held_out.error and rare.held_out.standing == "violated"
    assert rare.standing == result.feasible == "violated" and result.metrics["feasible"] == 0.0
    [told] = verdicts({}, result, Dual(), recipe(0.3).constraints)
    assert told.word == "violated" and f"held out: violated ({RARE} images" in told.sentence
    assert "less room than on training data" in told.sentence
