"""What a sampler is to a recipe: how many steps it takes, and how it draws once the heavy libraries are there.

Each sampler is one file of `trainer/samplers/shipped/` that holds a `SAMPLER`; the file's name is its word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffusers import DDPMScheduler
    from torch import Tensor

    from dualsweep.trainer.samplers.chains import Chains
    from dualsweep.trainer.samplers.grid import Step
    from dualsweep.trainer.samplers.recursion import Recursion
    from dualsweep.trainer.samplers.rollout import Predict

    #: (model, positions) -> the samples [len(positions), *shape] of the chains at these positions.
    Draw = Callable[[Predict, range], Tensor]


@dataclass(frozen=True)
class SamplerSpec:
    """A sampler.

    steps    its steps through the schedule where a recipe gives none, at most the schedule's; of one that has steps of its own,
             the key of the recipe that tells how many
    prepare  (model, chains) -> what draws, a batch at a time; called once for all of them. A sample is a function of the seed and
             its position alone, so what batches share must not depend on which there are
    written  (model, chains) -> its steps as numbers, for a pipeline that goes without us; none where it has no such form
    guided   whether it follows the model's guided prediction, prompt by prompt, or the model's own
    """

    steps: int | str
    prepare: Callable[[Predict, Chains], Draw]
    written: Callable[[Predict, Chains], Recursion] | None = None
    guided: bool = True

    @property
    def on_schedule(self) -> bool:
        """Whether its steps are timesteps of the schedule, so that there are at most as many."""
        return isinstance(self.steps, int)


def walking(chain: Callable[[DDPMScheduler, int], list[Step]], steps: int) -> SamplerSpec:
    """A sampler that walks `chain`, (schedule, number of steps) -> its steps, in the way of `grid.py`."""

    def prepare(_: Predict, chains: Chains) -> Draw:
        from dualsweep.trainer.samplers.walk import walk

        way = chain(chains.schedule, chains.sampling.steps)
        return lambda predict, positions: walk(predict, chains.schedule, way, chains.draws(positions))

    def written(_: Predict, chains: Chains) -> Recursion:
        from dualsweep.trainer.samplers.recursion import of_grid

        return of_grid(chain(chains.schedule, chains.sampling.steps), chains.schedule)

    return SamplerSpec(steps, prepare, written)
