"""The KLs of the product of frozen models to each of them, with no model fitted to it ([CCA] Alg. 3).

The weighted prediction eps_λ = Σ λ_i eps_i is not that of the noised product, so ½ ∫ E |eps_λ - eps_i|^2 d log snr on noised
samples is not KL(p || q_i): with two models it would put both at weight ½ whatever they are. Two identities do without the
product's own prediction.

1. log q_i(x) is minus the denoising loss l_i(x) of model i in nats, up to one constant for all models (Guo, Shamai, Verdú 2005;
   Kong et al. 2023, arXiv 2302.03792). So KL(p || q_i) - KL(p || q_j) = E_p [l_i - l_j]: all that the dual step needs.
2. Σ λ_i KL(p || q_i) = -log Π q_i^λ_i's integral = ½ ∫ E Σ λ_i |eps_i - eps_λ|^2 d log snr, where x at each noise level is from
   the normalised product of the *noised* models: what annealed Langevin sampling visits. Its integral is 1 for pure noise, and
   by the heat equation and Stein's identity its logarithm changes at this rate (docs/method.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.evaluation.drawn import JointDraws
from dualsweep.trainer.samplers.langevin import Annealed
from dualsweep.trainer.sources.base import Inputs, Source
from dualsweep.trainer.sources.mixture_batch import Integers
from dualsweep.trainer.sources.pool import Pool
from dualsweep.trainer.sources.product import samples_of_the_product
from dualsweep.trainer.sources.value_accumulator import ValueAccumulator
from dualsweep.trainer.terms.context import TermContext
from dualsweep.trainer.terms.losses import Noised, weighted_errors
from dualsweep.trainer.terms.shipped.kl import KL
from dualsweep.trainer.transfer import sent


class DualOnlySource(Source):
    """The KLs of the product for the present multipliers."""

    def __init__(self, setting: TermContext, columns: Sequence[int], terms: Sequence[KL]) -> None:
        self.columns = tuple(columns)
        self._setting, self._models = setting, [term.model for term in terms]
        self._first = terms[0].timestep
        if any(term.timestep != self._first for term in terms):
            raise TrainingError(
                f"`kl.timestep` must be the same for all parts of a composed model, whose losses compare only then, but got "
                f"{[term.timestep for term in terms]}; write one"
            )
        self._pool = Pool(setting, columns, self._models, keep=True)
        self._mean: tuple[Annealed, Tensor] | None = None

    def begin_step(self, step: int, coefficients: Vector) -> DualOnlyStep:
        return DualOnlyStep(self, coefficients, *self._pool.batch(step, coefficients))

    @torch.no_grad()
    def values(self, rows: Integers, noised: Noised, coefficients: Vector) -> Tensor:
        """Per-sample values [B, m] in nats, whose means are the KLs: the mean KL of each chain, and l_i - Σ λ_j l_j."""
        own = sent(coefficients[list(self.columns)].astype(np.float32), noised.x.device)
        errors = [
            weighted_errors(noised.schedule, model(noised.noisy, noised.t), noised.target, noised.t, "elbo", self._first)
            for model in self._models
        ]
        losses = torch.stack(errors, dim=1)
        mean = self._mean_kl(self._pool.at(coefficients), own)[sent(rows, own.device)]
        with torch.autocast(own.device.type, enabled=False):  # products of half precision are off by nats
            return mean[:, None] + losses - (losses @ own)[:, None]

    def _mean_kl(self, pool: Annealed, own: Tensor) -> Tensor:
        """½ ∫ Σ λ_i |eps_i - eps_λ|^2 d log snr along each chain [samples].

        By the trapezoidal rule over the noise levels, in the cumulative alpha a: d log snr = da / (a (1 - a)), and the errors
        go like a (1 - a) at both ends.
        """
        if self._mean is None or self._mean[0] is not pool:
            schedule, heights = self._setting.schedule, []
            signal = schedule.alphas_cumprod.double().to(own.device)
            of_v = schedule.config.prediction_type == "v_prediction"
            kept = [level for level in pool.levels if level[1] >= self._first]
            levels = signal[[timestep for _, timestep in kept]]
            for x, timestep in kept:
                t = torch.full((len(x),), timestep, device=x.device, dtype=torch.int64)
                predictions = torch.stack([model(x, t).float().flatten(1) for model in self._models])
                a = signal[timestep]
                scale = 1 - a if of_v else a * (1 - a)  # an error of v is one of eps over sqrt(a)
                with torch.autocast(own.device.type, enabled=False):
                    away = predictions - torch.einsum("m,mbd->bd", own, predictions)
                    heights.append(torch.einsum("m,mbd->b", own, away.square()) / scale)
            self._mean = (pool, 0.5 * torch.trapezoid(torch.stack(heights), levels, dim=0).float())
        return self._mean[1]

    @torch.no_grad()
    def measure(self, coefficients: Vector, held_out: bool, draws: range) -> list[JointDraws]:
        """On the pool of the multipliers `coefficients`; there is no held-out data."""
        return [] if held_out else self._pool.measure(coefficients, draws, partial(self.values, coefficients=coefficients))


class DualOnlyStep:
    """One measurement of the KLs."""

    def __init__(self, source: DualOnlySource, coefficients: Vector, rows: Integers, noised: Noised) -> None:
        self._source, self._coefficients, self._rows, self._noised = source, coefficients, rows, noised
        self._values: Tensor | None = None

    def loss(self, number: int, piece: int = 0) -> Tensor:
        """The sum of this shard's values, which says whether they are finite: there is nothing to train."""
        self._values = self._source.values(self._rows, self._noised, self._coefficients)
        return self._values.sum()

    def add_to(self, sums: ValueAccumulator) -> None:
        if self._values is not None:
            sums.add_joint(self._source.columns, self._values)

    def inputs(self) -> Inputs:
        return samples_of_the_product(self._noised.x)
