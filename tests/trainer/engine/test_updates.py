"""Several updates on each batch of trajectories beside terms on data: no data batch twice, and slacks are of the first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.dual.state import SlackReport
from dualsweep.trainer.engine.assembly import prepare
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.loop import Loop
from tests.trainer.recipe.test_formulations import ALIGNMENT, COMBINED
from tests.trainer.recipes import digits

#: Each gradient that may take several updates, beside a data term and one on samples of a frozen model.
GRADIENTS = ("policy_gradient", "dag", "dag_kl")
UPDATES = 3


class Listening(InProcess):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.reports: list[SlackReport] = []

    def exchange(self, report: SlackReport) -> Any:
        self.reports.append(report)
        return super().exchange(report)


def combined(gradient: str, updates: int) -> dict[str, Any]:
    flow = {"flow": {"width": 8}} if gradient.startswith("dag") else {}
    rollout = {**ALIGNMENT["rollout"], "gradient": gradient, "updates": updates, **flow}
    return {**COMBINED, "rollout": rollout, "dual": {"step_size": 0.1, "every": 1, "start": 0.5}}


def loop_of(gradient: str, updates: int, folder: Path) -> tuple[Loop, Listening]:
    recipe = digits(**combined(gradient, updates))
    coordinator = Listening(controller_of(recipe))
    host = LocalHost(coordinator, CheckpointFolder(str(folder)))
    return Loop(prepare(recipe, host), lambda weights: {}), coordinator


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_every_update_has_data_of_its_own_and_slacks_are_of_the_weights_the_step_began_with(
    gradient: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, coordinator = loop_of(gradient, UPDATES, tmp_path)
    loop.host.coordinator.begin(loop.state, 1)
    data = loop.sources[0]
    batches: list[tuple[torch.Tensor, torch.Tensor]] = []
    before, losses = data.forward, []  # type: ignore[attr-defined]

    def spy(x: torch.Tensor, t: torch.Tensor, **asked: Any) -> torch.Tensor:
        batches.append((x.clone(), t.clone()))
        losses.append([each.detach().clone() for each in loop.primal.predictor.parameters()])
        return before(x, t, **asked)  # type: ignore[no-any-return]

    monkeypatch.setattr(data, "forward", spy)
    for _ in range(2):
        loop.advance()
    assert len(batches) == 2 * UPDATES, "each update is along the whole Lagrangian"
    drawn = torch.stack([x for x, _ in batches])
    for i in range(len(drawn)):
        for j in range(i):
            assert not torch.equal(drawn[i], drawn[j]), f"updates {j} and {i} trained on one batch"
    moved = [not all(map(torch.equal, losses[0], losses[i])) for i in range(UPDATES)]
    assert moved == [False] + [True] * (UPDATES - 1)
    count = coordinator.reports[0].count
    assert count[2] + count[3] == loop.recipe.train.batch_size, "the first update's batch alone is reported"


def test_the_slack_is_that_of_a_run_with_one_update(tmp_path: Path) -> None:
    """With updates of 3 and of 1 the first step begins with the same weights and the same draws."""
    reports = []
    for updates in (1, UPDATES):
        loop, coordinator = loop_of("policy_gradient", updates, tmp_path / str(updates))
        loop.host.coordinator.begin(loop.state, 1)
        loop.advance()
        reports.append(coordinator.reports[0])
    np.testing.assert_array_equal(reports[0].count, reports[1].count)
    np.testing.assert_array_equal(reports[0].total, reports[1].total)
