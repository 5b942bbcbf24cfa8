"""A sampler written down as numbers, for whoever has no such sampler: each step is linear in what the model says.

    x' = of_x x + of_clean (x0 + lead (x0 - x0 before)) + of_noise noise

with x0 the sample that the model predicts. All shipped samplers are of this form: `grid.py`'s and the alignment's chain by their
updates, Langevin steps since a score is linear in x and x0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from diffusers import DDPMScheduler

from dualsweep.trainer.samplers.chain import Steps
from dualsweep.trainer.samplers.grid import Step, share_of


class Move(NamedTuple):
    """One step: its timestep in 0..T-1, the cumulative alpha before it, and the coefficients of its update."""

    timestep: int
    signal: float
    of_x: float
    of_clean: float
    of_noise: float
    lead: float = 0.0


@dataclass(frozen=True)
class Recursion:
    """The steps from noise to data; x0 is clipped to ±`clip`, or kept by `threshold`, (ratio, most) of dynamic thresholding."""

    moves: list[Move]
    clip: float | None = None
    threshold: tuple[float, float] | None = None


def of_grid(steps: Sequence[Step], schedule: DDPMScheduler) -> Recursion:
    """A chain of `grid.py`, with the range that the schedule tells."""
    moves = []
    for step in steps:
        share = share_of(step.signal, step.following, step.sigma)
        of_clean = step.following**0.5 - share * step.signal**0.5
        moves.append(Move(step.timestep, step.signal, share, of_clean, step.sigma, step.lead))
    config = schedule.config
    if config.thresholding:
        return Recursion(moves, threshold=(config.dynamic_thresholding_ratio, config.sample_max_value))
    return Recursion(moves, config.clip_sample_range if config.clip_sample else None)


def of_chain(steps: Steps) -> Recursion:
    """The chain on which alignment is measured."""
    moves = []
    for timestep, signal, following, kept, sigma in zip(
        steps.timesteps, steps.signal, steps.next_signal, steps.kept, (*steps.sigma, 0.0), strict=True
    ):
        share = kept / (1 - signal) ** 0.5
        moves.append(Move(timestep, signal, share, following**0.5 - share * signal**0.5, sigma))
    return Recursion(moves, steps.clip)


def of_langevin(timesteps: Sequence[int], sizes: Sequence[float], schedule: DDPMScheduler) -> Recursion:
    """Langevin steps of these sizes at these timesteps: x' = x + size score + √(2 size) noise.

    With (1 - a) score = √a x0 - x, it is linear in x and x0.
    """
    moves = []
    for timestep, size in zip(timesteps, sizes, strict=True):
        signal = float(schedule.alphas_cumprod[timestep])
        pull = size / (1 - signal)
        moves.append(Move(timestep, signal, 1 - pull, pull * signal**0.5, (2 * size) ** 0.5))
    return Recursion(moves)
