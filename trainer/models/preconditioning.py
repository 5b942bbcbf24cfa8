"""How a network that predicts something of its own is asked, so that it gives a v-prediction."""

from __future__ import annotations

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from dualsweep.trainer.models import edm, flow


def preconditioning(schedule: DDPMScheduler) -> Tensor | None:
    """Four numbers of each timestep, [4, T], in float32: scale, time, of_x, of_output; None where the network is asked as it is.

    The network is asked at (scale x, time), and the v-prediction is of_x x + of_output times what it gives.
    """
    if flow.is_flow(schedule):
        return torch.stack(flow.preconditioned(schedule))
    return torch.stack(edm.preconditioned(schedule)) if edm.keys_of(schedule) is not None else None
