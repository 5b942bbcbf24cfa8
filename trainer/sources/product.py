"""Terms on samples of the product of their models, to which the model is fitted by denoising ([CCA] Alg. 2).

For fixed multipliers on the simplex the Lagrangian Σ λ_i KL(p || q_i) is least for p* ∝ Π q_i^λ_i. So the primal step samples
p* and fits the model to it; the terms' own gradients are not needed, only their values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from trainer.batch import Integers, Parts, draw
from trainer.draws import Stream, generator, normals
from trainer.losses import Noised, weighted_errors
from trainer.problem import Vector
from trainer.samplers.langevin import product_samples
from trainer.setting import Setting
from trainer.sources.noising import fresh, own_shard
from trainer.sources.source import Source, Sums
from trainer.terms.kl import KL


class ProductSource(Source):
    """A pool of samples of the product, drawn anew when the multipliers change; it depends on seed and multipliers alone."""

    def __init__(self, setting: Setting, columns: Sequence[int], terms: Sequence[KL]) -> None:
        self.columns = tuple(columns)
        self.setting, self.forward = setting, setting.predict
        self.terms = list(terms)
        self._drawn: tuple[bytes, Tensor] | None = None

    def turn(self, step: int, weights: Vector) -> ProductTurn:
        recipe, pool = self.setting.recipe, self._pool(weights)
        timesteps = self.setting.schedule.config.num_train_timesteps
        batch = draw(
            np.array([recipe.train.batch_size]), np.ones(1), Parts.of([np.arange(len(pool))]), timesteps, recipe.seed, step
        )
        _, noised = own_shard(self.setting, batch, step, partial(_rows, pool))
        return ProductTurn(self, noised)

    def _pool(self, weights: Vector) -> Tensor:
        """[samples, *shape] on the device, for the multipliers `weights[columns]`."""
        own = weights[list(self.columns)]
        if self._drawn is None or self._drawn[0] != own.tobytes():
            self._drawn = (own.tobytes(), self._draw(own))
        return self._drawn[1]

    def _draw(self, own: Vector) -> Tensor:
        setting = self.setting
        recipe, device = setting.recipe, setting.host.device
        mark = int.from_bytes(hashlib.sha256(own.tobytes()).digest()[:7], "little")
        seed = int(generator(recipe.seed, Stream.POOL, mark).integers(2**62))
        noise = normals(recipe.seed, Stream.POOL, mark, range(recipe.product.samples), setting.shape).to(device)
        return product_samples(lambda x, t: self._weighted(x, t, own), setting.schedule, recipe.product, noise, seed)

    def _weighted(self, x: Tensor, t: Tensor, own: Vector) -> Tensor:
        """Σ λ_i times the models' predictions of the noise."""
        prediction = sum(weight * term.model(x, t).float() for weight, term in zip(own, self.terms, strict=True) if weight > 0)
        total: Tensor = self.setting.noise_of(x, t, prediction)
        return total

    def record(self, sums: Sums, prediction: Tensor, noised: Noised) -> None:
        for column, term in zip(self.columns, self.terms, strict=True):
            sums.add(np.full(len(noised.t), column), term.values(prediction, noised))

    @torch.no_grad()
    def measure(self, weights: Vector, held_out: bool) -> Sums:
        """On the pool of the multipliers `weights`; there is no held-out data."""
        sums = Sums(1 + len(self.setting.recipe.constraints))
        if not held_out:
            pool = self._pool(weights)
            for noised in fresh(self.setting, 0, [np.arange(len(pool))], partial(_rows, pool)):
                self.record(sums, self.forward(noised.noisy, noised.t), noised)
        return sums


def _rows(pool: Tensor, rows: Integers) -> Tensor:
    return pool[torch.from_numpy(rows).to(pool.device)]


class ProductTurn:
    """One step of fitting the model to the product."""

    rounds = 1

    def __init__(self, source: ProductSource, noised: Noised) -> None:
        self._source, self._noised = source, noised
        self._prediction: Tensor | None = None

    def loss(self, number: int) -> Tensor:
        setting, noised = self._source.setting, self._noised
        prediction = self._source.forward(noised.noisy, noised.t)
        self._prediction = prediction.detach()
        losses = weighted_errors(setting.schedule, prediction, noised.target, noised.t, setting.recipe.train.loss_weight)
        return losses.sum() * (setting.host.world / setting.recipe.train.batch_size)

    def add_to(self, sums: Sums) -> None:
        if self._prediction is not None:
            self._source.record(sums, self._prediction, self._noised)

    def fault(self) -> str | None:
        if bool(torch.isfinite(self._noised.x).all()):
            return None
        return "samples of the product must be finite, but got NaN or infinity; lower product.snr"
