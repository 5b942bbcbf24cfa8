"""What every estimator does with trajectories in one primal step: this worker's shard of them, and what was measured on it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainer.draws import Stream, drawn, shard
from trainer.samplers.rollout import Path, roll_out
from trainer.setting import Setting
from trainer.sources.source import Companion, Sums

if TYPE_CHECKING:
    from trainer.sources.rollout import RolloutSource


#: The Lagrangian's normalised coefficients by column: a number, or one for each trajectory [b].
Weights = Mapping[int, float] | Mapping[int, Tensor]


def record(sums: Sums, values: Mapping[int, Tensor]) -> None:
    """Adds the terms' values, measured on the same samples."""
    sums.add_joint(list(values), torch.stack([per_sample(each) for each in values.values()], dim=1))


def per_sample(values: Tensor) -> Tensor:
    return values.sum(1) if values.ndim == 2 else values


class RolloutTurn:
    """What the estimators share: this worker's shard of the trajectories, and what was measured on them."""

    def __init__(
        self, source: RolloutSource, step: int, weights: Weights, multipliers: Tensor | None = None
    ) -> None:  # fmt: skip
        self._source, self._step, self._weights = source, step, weights
        self._forward = source.forward if multipliers is None else partial(source.forward, multipliers=multipliers)
        self._size = source.recipe.rollout.batch_size
        self._mine = shard(self._size, source.host.rank, source.host.world)
        self._measured: dict[int, Tensor] = {}

    def _rolled_out(self, through: int | None = None, recompute: bool = False) -> Path:
        """This shard's trajectories of the present weights."""
        source = self._source
        noise = source.noise(Stream.ROLLOUT, self._step, self._mine)
        prompts = drawn(source.prompts, source.recipe.seed, self._step, self._size)
        own = prompts[self._mine.start : self._mine.stop] if prompts is not None else None
        return roll_out(self._forward, source.steps, noise, own, through=through, recompute=recompute)

    def _share(self, values: Tensor) -> Tensor:
        """The sum over this shard of [b] values, scaled so that its average over workers is the global batch's mean."""
        return values.sum() * (self._source.host.world / self._size)

    def add_to(self, sums: Sums) -> None:
        record(sums, self._measured)

    def fault(self) -> str | None:
        return None


class PlainEstimator:
    """It learns nothing of its own."""

    step: type[RolloutTurn]

    def __init__(self, source: RolloutSource, setting: Setting) -> None:
        self._source = source

    @property
    def rounds(self) -> int:
        return 1

    def companions(self) -> dict[str, Companion]:
        return {}

    def turn(self, step: int, weights: Weights, multipliers: Tensor | None = None) -> RolloutTurn:
        return self.step(self._source, step, weights, multipliers)
