"""How much of the present weights an average of them takes, by the number of updates: on the device, which alone knows it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from torch import Tensor

from dualsweep.trainer.recipe.ema import Ema

#: From the number n of the updates before to the share that the next one takes, both scalars on the device; 1 for n = 0.
Share = Callable[[Tensor], Tensor]


def share_of(ema: float | Ema) -> Share:
    """The share of a recipe's `train.ema`."""
    if isinstance(ema, Ema):
        if ema.sigma_rel is not None:
            return _power(exponent(ema.sigma_rel))
        decay = float(ema.decay or 0.0)
        return _ramped(decay, ema.rampup) if ema.rampup is not None else _held(decay)
    return _held(ema)


def _held(decay: float) -> Share:
    """1 - min(decay, (1 + n) / (10 + n)): short runs aren't ruled by their first weights."""
    return lambda n: (9 / (10 + n)).clamp(min=1 - decay).where(n > 0, 1.0)


def _ramped(decay: float, rampup: float) -> Share:
    """1 - 0.5^(1 / h) with the half-life h in updates that of the decay, or `rampup` (n + 1) where that is less."""
    longest = math.log(0.5) / math.log(decay) if decay > 0 else 0.0
    return lambda n: -(math.log(0.5) / (rampup * (n + 1)).clamp(max=longest)).expm1().where(n > 0, -1.0)


def _power(gamma: float) -> Share:
    """1 - (1 - 1 / t)^(gamma + 1) for update t = n + 1 (arXiv 2312.02696, §3.1): the average is that over tau^gamma."""
    return lambda n: -((gamma + 1) * (-1 / (n + 1)).log1p()).expm1()


def exponent(sigma_rel: float) -> float:
    """The gamma for which the density (gamma + 1) tau^gamma on [0, 1] has this standard deviation, for sigma_rel <= 0.28.

    The largest real root of (gamma + 2)^2 (gamma + 3) = (gamma + 1) / sigma_rel^2 (arXiv 2312.02696, §3.1).
    """
    over = sigma_rel**-2
    return float(np.roots([1, 7, 16 - over, 12 - over]).real.max())
