"""DDIM: deterministic, of first order (Song et al. 2021, arXiv 2010.02502, eq. 12 with sigma = 0)."""

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
    from dualsweep.trainer.samplers.grid import chain_of

    return chain_of(schedule, count)


SAMPLER = walking(chain, steps=50)
