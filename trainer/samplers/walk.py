"""Sampling along a chain of steps of `grid.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from dualsweep.trainer.samplers.grid import Step, clean_of, update
from dualsweep.trainer.samplers.rollout import Predict

#: Standard normals [B, *shape] by number: 0 is the start, 1 + k the noise of step k = 0, 1, ….
Draws = Callable[[int], Tensor]


def walk(predict: Predict, schedule: DDPMScheduler, chain: Sequence[Step], draws: Draws) -> Tensor:
    """Samples [B, *shape] at the end of a chain: it starts at draw 0, and step k takes draw 1 + k where it has noise."""
    x = draws(0)
    last = torch.zeros_like(x)
    for number, step in enumerate(chain):
        t = torch.full((len(x),), step.timestep, device=x.device, dtype=torch.int64)
        clean = clean_of(schedule, step.signal, x, predict(x, t))
        led = clean + step.lead * (clean - last) if step.lead else clean
        x, last = update(x, led, step.signal, step.following, step.sigma), clean
        if step.sigma:
            x = x + step.sigma * draws(1 + number)
    return x
