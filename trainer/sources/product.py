"""Terms on samples of the product of their models, to which the model is fitted by denoising ([CCA] Alg. 2).

For fixed multipliers on the simplex the Lagrangian Σ λ_i KL(p || q_i) is least for p* ∝ Π q_i^λ_i. So the primal step samples
p* and fits the model to it; the terms' own gradients are not needed, only their values.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.evaluation.drawn import JointDraws
from dualsweep.trainer.rng import shard
from dualsweep.trainer.sources.base import Inputs, Source
from dualsweep.trainer.sources.mixture_batch import Integers
from dualsweep.trainer.sources.pool import Pool
from dualsweep.trainer.sources.value_accumulator import ValueAccumulator
from dualsweep.trainer.terms.context import TermContext
from dualsweep.trainer.terms.losses import Noised, weighted_errors
from dualsweep.trainer.terms.shipped.kl import KL


class ProductSource(Source):
    """The values of a model that is fitted to the product."""

    def __init__(self, setting: TermContext, columns: Sequence[int], terms: Sequence[KL]) -> None:
        self.columns = tuple(columns)
        self.setting, self.forward = setting, setting.predict
        self._terms = list(terms)
        self._pool = Pool(setting, columns, [term.model for term in terms])

    def begin_step(self, step: int, coefficients: Vector) -> ProductStep:
        return ProductStep(self, self._pool.batch(step, coefficients)[1])

    def values(self, prediction: Tensor, noised: Noised) -> Tensor:
        """Each term's per-sample values, [B, m] in the order of `columns`."""
        return torch.stack([term.values(prediction, noised) for term in self._terms], dim=1)

    @torch.no_grad()
    def measure(self, coefficients: Vector, held_out: bool, draws: range) -> list[JointDraws]:
        """On the pool of the multipliers `coefficients`; there is no held-out data."""

        def values(_: Integers, noised: Noised) -> Tensor:
            return self.values(self.forward(noised.noisy, noised.t), noised)

        return [] if held_out else self._pool.measure(coefficients, draws, values)


def samples_of_the_product(x: Tensor) -> Inputs:
    """What a step on samples x [B, *shape] of the product is given."""
    return Inputs.of(x, lambda _: "samples of the product must be finite, but got NaN or infinity; lower product.snr")


class ProductStep:
    """One step of fitting the model to the product."""

    def __init__(self, source: ProductSource, noised: Noised) -> None:
        self._source, self._noised = source, noised
        self._predictions: list[Tensor] = []

    def loss(self, number: int, piece: int = 0) -> Tensor:
        setting = self._source.setting
        own = shard(len(self._noised.t), piece, setting.train.accumulate)
        noised = self._noised.part(slice(own.start, own.stop))
        prediction = self._source.forward(noised.noisy, noised.t)
        self._predictions.append(prediction.detach())
        losses = weighted_errors(setting.schedule, prediction, noised.target, noised.t, setting.train.loss_weight, evenly=True)
        return losses.sum() * (setting.host.world / setting.train.batch_size)

    def add_to(self, sums: ValueAccumulator) -> None:
        sums.add_joint(self._source.columns, self._source.values(torch.cat(self._predictions), self._noised))

    def inputs(self) -> Inputs:
        return samples_of_the_product(self._noised.x)
