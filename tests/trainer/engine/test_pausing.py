"""A training that is to leave saves at its next dual step, wherever regular checkpoints lie, and goes on to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from dualsweep.trainer.checkpoint import CheckpointFolder, Snapshot
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.worker import run_worker
from dualsweep.trainer.errors import TrainingPaused
from dualsweep.trainer.recipe.recipe import Recipe
from tests.trainer.recipes import digits


class Leaving(InProcess):
    """Has the word to leave with the state after so many dual steps."""

    def __init__(self, recipe: Recipe, after: int | None = None) -> None:
        super().__init__(controller_of(recipe))
        self._after = after

    def exchange(self, report: Any) -> Any:
        answer = super().exchange(report)

        def taken() -> Any:
            state = answer()
            self.pauses = self._after is not None and state.version >= self._after
            return state

        return taken


def run(recipe: Recipe, folder: Path, after: int | None = None) -> tuple[dict[int, Any], Snapshot]:
    """The points by step, and the last checkpoint; until it leaves, or to its end."""
    host = LocalHost(Leaving(recipe, after), CheckpointFolder(str(folder / "checkpoints")))
    if after is None:
        run_worker(recipe, host, str(folder), str(folder.parent / "judges"))
    else:
        with pytest.raises(TrainingPaused):
            run_worker(recipe, host, str(folder), str(folder.parent / "judges"))
        host.checkpoints.flush()
    last = host.checkpoints.latest()
    assert last is not None
    return {point["step"]: point["metrics"] for report in host.reports for point in report["points"]}, last


@pytest.mark.parametrize(("dual", "left_at"), [({"staleness": 1}, 5), ({"staleness": 0}, 4), ({"staleness": 1, "every": 2}, 10)])
def test_it_is_the_uninterrupted_training_to_the_bit(tmp_path: Path, dual: dict[str, Any], left_at: int) -> None:
    recipe = digits(checkpoint={"every": 100}, dual={"step_size": 0.05, **dual}, train={"steps": 20, "log_every": 2})
    whole, end = run(recipe, tmp_path / "whole")
    before, saved = run(recipe, tmp_path / "parts", after=4)
    after, last = run(recipe, tmp_path / "parts")
    assert saved.step == left_at, "at the first dual step after the word, though no regular checkpoint lies there"
    timeless = {
        step: {name: value for name, value in metrics.items() if "system/" not in name} for step, metrics in whole.items()
    }
    for step, metrics in {**before, **after}.items():
        assert {name: value for name, value in metrics.items() if "system/" not in name} == timeless[step]
    assert before.keys() | after.keys() == whole.keys()
    for group, tensors in end.groups.items():
        assert all(torch.equal(tensors[name], last.groups[group][name]) for name in tensors), group
