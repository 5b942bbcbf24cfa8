"""What a sampler is given beside the model: the schedule, how it is to sample, and the draws of each chain by its position."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from dualsweep.trainer.recipe.sampling import Sampling
from dualsweep.trainer.rng import Stream, normals
from dualsweep.trainer.samplers.walk import Draws


@dataclass(frozen=True)
class Chains:
    """The chains of one call; `shape` is that of a sample, and `prompts` how many the model has, or classes."""

    schedule: DDPMScheduler
    sampling: Sampling
    seed: int
    shape: tuple[int, ...]
    device: torch.device
    prompts: int = 0

    def draws(self, positions: range) -> Draws:
        """The standard normals [len(positions), *shape] of the chains at these positions, by number."""
        return lambda number: normals(self.seed, Stream.SAMPLING, number, positions, self.shape).to(self.device)

    def noise(self, positions: range, count: int) -> Tensor:
        """`count` of their standard normals at once, [len(positions), count, *shape]; other numbers than those of `draws`."""
        return normals(self.seed, Stream.SAMPLING, 0, positions, (count, *self.shape)).to(self.device)
