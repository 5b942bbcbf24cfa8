"""Flow matching (Lipman et al. 2023, arXiv 2210.02747; Liu et al. 2023, arXiv 2209.03003) as a variance-preserving diffusion.

The linear path x_s = (1 - s) x + s noise, over c_s = sqrt((1 - s)^2 + s^2), is sqrt(a) x + sqrt(1 - a) noise with
sqrt(a) = (1 - s) / c_s. So a network that predicts the velocity noise - x at x_s gives the v-prediction of that diffusion:
sqrt(a) noise - sqrt(1 - a) x = (1 - 2 s) (x_s / c_s) + c_s velocity. Losses, samplers and KLs then hold as they are, and a
deterministic step (DDIM) is an Euler step of the flow.
"""

from __future__ import annotations

import torch
from diffusers import DDPMScheduler
from torch import Tensor

#: The entry of a schedule's configuration that says that its networks predict the velocity.
MARK = "flow_shift"


def flow_schedule(timesteps: int, shift: float, clip_sample: bool) -> DDPMScheduler:
    """A schedule of the levels s_k = (k + 1/2) / T, shifted: s <- shift s / (1 + (shift - 1) s) (arXiv 2403.03206, eq. 23)."""
    even = (torch.arange(timesteps, dtype=torch.float64) + 0.5) / timesteps
    s = shift * even / (1 + (shift - 1) * even)
    signal = (1 - s).square() / ((1 - s).square() + s.square())
    betas = 1 - signal / torch.cat([torch.ones(1, dtype=torch.float64), signal[:-1]])
    schedule = DDPMScheduler(
        num_train_timesteps=timesteps, trained_betas=betas.tolist(), prediction_type="v_prediction", clip_sample=clip_sample,
        timestep_spacing="trailing",
    )  # fmt: skip
    schedule.register_to_config(**{MARK: shift})
    return schedule


def is_flow(schedule: DDPMScheduler) -> bool:
    """Whether networks under this schedule predict the velocity noise - x."""
    return schedule.config.get(MARK) is not None


def levels(schedule: DDPMScheduler) -> Tensor:
    """s [T] in (0, 1) of each timestep."""
    signal = schedule.alphas_cumprod.double()
    s: Tensor = ((1 - signal).sqrt() / (signal.sqrt() + (1 - signal).sqrt())).float()
    return s


def preconditioned(schedule: DDPMScheduler) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of each timestep [T]: the scale of x, the time, and the factors of x and of the output (`preconditioning.py`)."""
    s = levels(schedule)
    scale = ((1 - s).square() + s.square()).sqrt()
    return scale, s * len(s), 1 - 2 * s, scale


def velocity_scale(signal: Tensor) -> Tensor:
    """1 / c_s^2 of cumulative alphas: what turns a squared error of v-prediction into one of the velocity."""
    return (signal.sqrt() + (1 - signal).sqrt()).square()
