"""Terms on noised examples. For fixed multipliers one batch from the mixture of their distributions serves them all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from trainer.batch import GlobalBatch, Integers, Parts, draw, sizes
from trainer.data.examples import Examples
from trainer.draws import Stream, generator, normals, shard
from trainer.losses import Noised
from trainer.problem import Vector
from trainer.setting import Setting
from trainer.sources.source import Companion, Sums

NOTHING = np.empty(0, dtype=np.int64)


class DataTerm(Protocol):
    """A term on noised examples. Equal terms are evaluated together."""

    def values(self, prediction: Tensor, noised: Noised) -> Tensor:
        """Per-sample values [B] from the trained model's predictions [B, *shape] for `noised.noisy`."""
        ...


@dataclass(frozen=True)
class Population:
    """The rows of the examples from which x is drawn, trained on and held out; in groups of equal probability."""

    groups: tuple[Integers, ...]
    held_out: tuple[Integers, ...]

    @classmethod
    def of(cls, rows: Integers, held_out: Integers) -> Population:
        """All rows equally probable."""
        return cls((rows,), (held_out,))

    @classmethod
    def balanced(cls, rows: Integers, held_out: Integers, labels: Integers) -> Population:
        """Classes equally probable, and the rows within each; those held out over the same classes, as far as they are there."""
        classes = np.unique(labels[rows])
        held = tuple(held_out[labels[held_out] == each] for each in classes)
        return cls(tuple(rows[labels[rows] == each] for each in classes), tuple(each for each in held if len(each)))


class DataSource:
    """The λ-mixture of the distributions of its terms ([CDM] §3), or separate batches for comparison."""

    def __init__(
        self, setting: Setting, columns: Sequence[int], terms: Sequence[DataTerm], populations: Sequence[Population],
        examples: Examples,
    ) -> None:  # fmt: skip
        self.columns = tuple(columns)
        self.places = np.array(self.columns, dtype=np.int64)
        self.schedule, self.host, self.forward = setting.schedule, setting.host, setting.predict
        self._recipe, self._examples = setting.recipe, examples
        self._populations = populations
        self._parts = Parts.grouped([each.groups for each in populations])
        self._terms = list(terms)

    def turn(self, step: int, weights: Vector) -> DataTurn:
        train, own = self._recipe.train, weights[self.places]
        counts = sizes(own, self.places, train)
        batch = draw(counts, own, self._parts, self.schedule.config.num_train_timesteps, self._recipe.seed, step)
        mine = shard(len(batch.part), self.host.rank, self.host.world)
        x = self._examples.fetch(batch.index[mine.start : mine.stop])
        noise = normals(self._recipe.seed, Stream.NOISE, step, mine, tuple(x.shape[1:]))
        return DataTurn(self, batch, mine, x, noise)

    def values(self, prediction: Tensor, noised: Noised, part: np.ndarray) -> Tensor:
        """Per-sample values [B]; `part` [B] says of which term each is."""
        first = self._terms[0]
        if all(term == first for term in self._terms):
            return first.values(prediction, noised)
        values = torch.zeros(len(part), device=prediction.device)
        for term, which in self._groups():
            mask = torch.from_numpy(np.isin(part, which)).to(prediction.device)
            if mask.any():
                values[mask] = term.values(prediction[mask], noised.part(mask)).to(values.dtype)
        return values

    def _groups(self) -> Iterator[tuple[DataTerm, list[int]]]:
        done: list[DataTerm] = []
        for term in self._terms:
            if term not in done:
                done.append(term)
                yield term, [i for i, other in enumerate(self._terms) if other == term]

    def companions(self) -> dict[str, Companion]:
        return {}

    def facts(self) -> dict[int, dict[str, float]]:
        return {}

    @torch.no_grad()
    def measure(self, weights: Vector, held_out: bool) -> Sums:
        """The draws depend on (seed, column, position), so runs of one seed are compared on the same draws."""
        sums = Sums(1 + len(self._recipe.constraints))
        for part, population in enumerate(self._populations):
            groups = population.held_out if held_out else population.groups
            for noised in self._fresh(groups, self.columns[part]):
                prediction = self.forward(noised.noisy, noised.t)
                which = np.full(len(noised.t), part)
                sums.add(np.full(len(which), self.columns[part]), self.values(prediction, noised, which))
        return sums

    def _fresh(self, groups: Sequence[Integers], column: int) -> Iterator[Noised]:
        """This worker's share of one column's draws, stratified in t; nothing for a part without data."""
        recipe, timesteps = self._recipe, self.schedule.config.num_train_timesteps
        draws = recipe.evaluation.loss_draws if sum(map(len, groups)) else 0
        uniform = generator(recipe.seed, Stream.VALUES, column).random((2, draws))
        chosen = Parts.grouped([groups]).pick(np.zeros(draws, dtype=np.int64), uniform[0]) if draws else NOTHING
        t = torch.from_numpy(((np.arange(draws) + uniform[1]) * timesteps / max(1, draws)).astype(np.int64))
        t = t.clamp(max=timesteps - 1)
        mine, device = shard(draws, self.host.rank, self.host.world), self.host.device
        for start in range(mine.start, mine.stop, recipe.evaluation.batch_size):
            positions = range(start, min(start + recipe.evaluation.batch_size, mine.stop))
            within = slice(positions.start, positions.stop)
            x = self._examples.fetch(chosen[within]).to(device)
            noise = normals(recipe.seed, Stream.EVALUATION, column, positions, tuple(x.shape[1:])).to(device)
            yield Noised(self.schedule, x, noise, t[within].to(device))


class DataTurn:
    """One batch of the mixture."""

    rounds = 1

    def __init__(self, source: DataSource, batch: GlobalBatch, mine: range, x: Tensor, noise: Tensor) -> None:
        self._source, self._batch, self._mine = source, batch, mine
        within, device = slice(mine.start, mine.stop), source.host.device
        self._part = batch.part[within]
        t = torch.from_numpy(batch.timestep[within]).to(device)
        self._noised = Noised(source.schedule, x.to(device), noise.to(device), t)
        # Data-parallel training averages gradients over workers; times `world` it is the sum over the global batch.
        self._weight = torch.from_numpy(batch.weight[within] * source.host.world).to(device, torch.float32)
        self._values: Tensor | None = None

    def loss(self, number: int) -> Tensor:
        prediction = self._source.forward(self._noised.noisy, self._noised.t)
        values = self._source.values(prediction, self._noised, self._part)
        if number == 0:
            self._values = values.detach()
        return values @ self._weight

    def add_to(self, sums: Sums) -> None:
        if self._values is not None:
            sums.add(self._source.places[self._part], self._values)

    def fault(self) -> str | None:
        bad = ~torch.isfinite(self._noised.x).flatten(1).all(1)
        if not bad.any():
            return None
        rows = self._batch.index[self._mine.start : self._mine.stop][bad.cpu().numpy()]
        return f"data must be finite, but a step drew NaN or infinity at positions {rows[:5].tolist()}; mend or drop them"
