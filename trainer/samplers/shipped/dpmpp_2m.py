"""DPM-Solver++(2M): deterministic, the second-order multistep solver (Lu et al. 2022, arXiv 2211.01095, Algorithm 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from dualsweep.trainer.samplers.spec import walking

if TYPE_CHECKING:
    from diffusers import DDPMScheduler

    from dualsweep.trainer.samplers.grid import Step

#: The log √snr from which `dpmpp_2m` begins where noise is predicted: below it, the sample stands in the prediction's last digits
#: alone. The value is the one that diffusers names for cosine schedules (`lambda_min_clipped`).
LEAST_LOG_SNR = -5.1
#: How many of the steps then lie in what would be the first of them: the longer a step there, the more of an error it carries on.
APPROACH = 2


def chain(schedule: DDPMScheduler, count: int) -> list[Step]:
    """The `count` steps over a training schedule, from noise to data.

    Raises:
        ValueError: more steps than the schedule has.
    """
    from dualsweep.trainer.samplers.grid import chain_of

    return chain_of(schedule, count, timesteps=_multistep, leads=_leads)


def _multistep(schedule: DDPMScheduler, count: int) -> tuple[int, ...]:
    """`condensed` timesteps; where the noise is predicted, from where it tells something of the sample, and first with care.

    A step to a' carries an error of the prediction on times √a' / √a, so that the first, which would be the longest, is divided
    evenly in log √snr. Measured with a network that learned two clusters in the plane, cosine schedule, 20 steps: energy distance
    to the data 12 from T - 1, 0.04 from the first informed timestep, 0.004 so (50 steps of ddpm: 0.004, of ddim: 1.3).
    """
    import numpy as np

    from dualsweep.trainer.models.edm import keys_of
    from dualsweep.trainer.samplers.grid import condensed, evenly

    if keys_of(schedule) is not None:  # whose levels are condensed themselves
        return evenly(schedule, count)
    total = schedule.config.num_train_timesteps
    if schedule.config.prediction_type == "v_prediction":
        return condensed(total, count)
    at = [_half_log_snr(float(each)) for each in schedule.alphas_cumprod]
    informed = max((t for t, each in enumerate(at) if each >= LEAST_LOG_SNR), default=total - 1) + 1
    plain = condensed(max(informed, count), count)
    if informed == total or count <= APPROACH + 2:
        return plain
    first, second, *rest = condensed(max(informed, count), count - APPROACH)
    levels = [at[first] + (at[second] - at[first]) * (1 + each) / (1 + APPROACH) for each in range(APPROACH)]
    gap = np.arange(first - 1, second, -1)
    between = sorted({int(gap[np.abs(np.array(at)[gap] - level).argmin()]) for level in levels if len(gap)}, reverse=True)
    return (first, *between, second, *rest) if len(between) == APPROACH else plain  # too few timesteps for it


def _leads(signal: Sequence[float]) -> list[float]:
    """h / (2 h before); 0 for the first step, which has none before it, and for the last, which ends at no noise."""
    at = [_half_log_snr(each) for each in (*signal, 1.0)]
    lengths = [after - before for before, after in pairwise(at)]
    return [0.0, *(h / (2 * before) if before > 0 and h < math.inf else 0.0 for before, h in pairwise(lengths))]


def _half_log_snr(signal: float) -> float:
    if 0 < signal < 1:
        return 0.5 * math.log(signal / (1 - signal))
    return math.inf if signal > 0 else -math.inf


SAMPLER = walking(chain, steps=20)
