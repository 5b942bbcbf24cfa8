"""DDPM: ancestral, with the noise of the posterior q(x' | x, x0) (Ho et al. 2020, arXiv 2006.11239, eq. 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualsweep.trainer.samplers.spec import walking

if TYPE_CHECKING:
    from diffusers import DDPMScheduler

    from dualsweep.trainer.samplers.grid import Step


def chain(schedule: DDPMScheduler, count: int) -> list[Step]:
    """The `count` steps over a training schedule, from noise to data.

    Raises:
        ValueError: more steps than the schedule has.
    """
    from dualsweep.trainer.samplers.grid import ancestral, chain_of

    return chain_of(schedule, count, sigma=ancestral)


SAMPLER = walking(chain, steps=50)
