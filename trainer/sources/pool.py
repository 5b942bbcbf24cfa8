"""Samples of the product of frozen models for the present multipliers, and noised examples of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.evaluation.drawn import JointDraws
from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.rng import Stream, generator, normals
from dualsweep.trainer.samplers.langevin import Annealed, product_samples
from dualsweep.trainer.sources.mixture_batch import Integers, Mixture, Parts, draw
from dualsweep.trainer.sources.noising import fresh, joint_draws, noised, noised_share
from dualsweep.trainer.terms.context import TermContext
from dualsweep.trainer.terms.losses import Noised
from dualsweep.trainer.terms.timesteps import Timesteps
from dualsweep.trainer.transfer import sent


class Pool:
    """`product.samples` of Π q_i^λ_i, drawn anew when the multipliers change; they depend on seed and multipliers alone.

    columns: where the models' multipliers stand among the coefficients [1 + m]. keep: whether chains' states at the end of each
    noise level are kept.
    """

    def __init__(self, setting: TermContext, columns: Sequence[int], models: Sequence[Predictor], keep: bool = False) -> None:
        self._setting, self._columns, self._models, self._keep = setting, list(columns), list(models), keep
        self._drawn: tuple[bytes, Annealed] | None = None
        self._timesteps = Timesteps(setting.schedule.config.num_train_timesteps)  # even, for KLs

    def at(self, coefficients: Vector) -> Annealed:
        """The chains for these coefficients [1 + m]."""
        own = coefficients[self._columns]
        if self._drawn is None or self._drawn[0] != own.tobytes():
            self._drawn = (own.tobytes(), self._draw(own))
        return self._drawn[1]

    def batch(self, step: int, coefficients: Vector) -> tuple[Integers, Noised]:
        """This worker's share of primal step `step`: `train.batch_size` samples, stratified in t, and their rows in the pool."""
        setting, samples, count = self._setting, self.at(coefficients).samples, np.array([self._setting.train.batch_size])
        parts = Parts.of([np.arange(len(samples))])
        mixture = Mixture(np.zeros(1, dtype=np.int64), parts, self._timesteps, setting.train, setting.seed)
        batch = draw(mixture, count, count * step, np.ones(1), step)
        mine = batch.own(setting.host.rank, setting.host.world)
        rows = batch.index[mine]
        return rows, noised_share(setting, batch, mine, samples[sent(rows, samples.device)], step)

    def measure(self, coefficients: Vector, draws: range, values: Callable[[Integers, Noised], Tensor]) -> list[JointDraws]:
        """This worker's share of the final `draws`, each chain equally often; `values` [b, k] are by rows in the pool [b]."""
        samples = self.at(coefficients).samples
        drawn = fresh(self._setting, 0, [np.arange(len(samples))], draws, in_turn=True, timesteps=self._timesteps)
        batches = noised(self._setting, 0, drawn, draws, lambda rows: samples[torch.from_numpy(rows)])
        found = [values(drawn.rows[within], each) for within, each in batches]
        return joint_draws(self._setting, self._columns, drawn, found, "chains")

    def _draw(self, own: Vector) -> Annealed:
        setting, device = self._setting, self._setting.host.device
        mark = int.from_bytes(hashlib.sha256(own.tobytes()).digest()[:7], "little")
        seed = int(generator(setting.seed, Stream.POOL, mark).integers(2**62))
        start = sent(normals(setting.seed, Stream.POOL, mark, range(setting.product.samples), setting.shape), device)
        source = torch.Generator().manual_seed(seed)

        def weighted(x: Tensor, t: Tensor) -> Tensor:
            used = [weight * model(x, t).float() for weight, model in zip(own, self._models, strict=True) if weight > 0]
            return torch.stack(used).sum(0)

        def draws(number: int) -> Tensor:
            return sent(torch.randn(start.shape, generator=source), device) if number else start

        return product_samples(weighted, setting.schedule, setting.product, draws, keep=self._keep)
