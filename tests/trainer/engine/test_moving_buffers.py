"""What a network changes beside its weights is the same on two workers, as checkpoints and final values have it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dualsweep.trainer.engine.assembly import prepare
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.loop import Loop
from tests.trainer.engine.in_group import Together, host_of, in_group
from tests.trainer.recipe.test_formulations import ALIGNMENT
from tests.trainer.recipes import digits


class Normed(nn.Module):
    """A network with a BatchNorm, a table, and the mean of what it was last given."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 3, padding=1)
        self.register_buffer("table", torch.linspace(0, 1, 3))
        self.register_buffer("seen", torch.zeros(()))
        self.register_buffer("late", torch.zeros(()))  # which moves from the tenth pass on
        self.register_buffer("begun", torch.tensor(False))
        self.passes = 0

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        if self.training:
            self.seen, self.passes = x.mean(), self.passes + 1
            if self.passes >= 10:
                self.late, self.begun = x.std(), torch.tensor(True)
        made: Tensor = self.last(self.norm(self.first(x)).relu())
        return made


NORMED = {"call": "tests.trainer.engine.test_moving_buffers:Normed", "unet": None}
CASES: dict[str, dict[str, Any]] = {"data": {}, "rollouts": ALIGNMENT}


def ten_steps(folder: Path) -> dict[str, dict[str, Tensor]]:
    """The weights and buffers after ten steps of this worker, of each case."""
    after = {}
    for case, sections in CASES.items():
        torch.manual_seed(0)
        recipe = digits(**{**sections, "model": {**NORMED, "shape": [1, 8, 8]}})
        coordinator = Together(controller_of(recipe))
        host = host_of(recipe, folder / case, coordinator)
        loop = Loop(prepare(recipe, host), lambda _: {})
        coordinator.begin(loop.state, host.world)
        for _ in range(10):
            loop.advance()
        after[case] = {name: value.clone() for name, value in loop.primal.predictor.state_dict().items()}
    return after


def test_two_workers_have_the_same(tmp_path: Path) -> None:
    one, two = in_group(2, tmp_path / "group", ten_steps, tmp_path)
    for case in CASES:
        assert one[case].keys() == two[case].keys()
        different = [name for name, value in one[case].items() if not torch.equal(value, two[case][name])]
        assert not different
        assert float(one[case]["inner.norm.running_var"].sub(1).abs().max()) > 0.01, "it has moved"
        assert bool(one[case]["inner.begun"]) and float(one[case]["inner.late"]) > 0
        assert torch.equal(one[case]["inner.table"], torch.linspace(0, 1, 3))
