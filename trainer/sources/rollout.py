"""Terms on the trained model's own trajectories: one rollout serves them all, so a reward more costs one evaluation more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from trainer.draws import Stream, in_turn, normals, shard
from trainer.problem import Vector
from trainer.samplers.rollout import Path, Steps, roll_out
from trainer.setting import Setting
from trainer.sources.estimators import estimator
from trainer.sources.source import Companion, Source, Sums, Turn
from trainer.sources.turn import Weights, record


class RolloutTerm(Protocol):
    """A term on trajectories. One that has `facts() -> dict of floats` has them stored with the run."""

    def values(self, path: Path) -> Tensor:
        """Per-sample values [B], or [B, K] where they are sums over the steps."""
        ...


class Estimator(Protocol):
    """How the terms' values reach the weights: `Estimator(source, setting)` of a module of `trainer/sources/estimators/`."""

    @property
    def rounds(self) -> int:
        """Updates of the weights on each batch of trajectories."""
        ...

    def companions(self) -> Mapping[str, Companion]:
        """Networks that it learns beside the model."""
        ...

    def turn(self, step: int, weights: Weights, multipliers: Tensor | None = None) -> Turn:
        """Its part of primal step `step`, for the Lagrangian's normalised coefficients by column.

        Where each of this shard's b trajectories has `multipliers` [b, m] of its own, coefficients are [b].
        """
        ...


class RolloutSource(Source):
    """Trajectories of the present weights, drawn anew in each primal step."""

    def __init__(self, setting: Setting, columns: Sequence[int], terms: Sequence[RolloutTerm], steps: Steps) -> None:
        self.columns = tuple(columns)
        self.recipe, self.host, self.forward, self.steps = setting.recipe, setting.host, setting.sampling, steps
        self.terms = list(terms)
        self._shape, self.prompts, self._spread = setting.shape, len(setting.prompts), setting.spread
        self._estimator: Estimator = estimator(self.recipe.rollout.gradient)(self, setting)
        self.rounds = self._estimator.rounds

    def companions(self) -> Mapping[str, Companion]:
        return self._estimator.companions()

    def turn(self, step: int, weights: Vector) -> Turn:
        if self._spread is None:
            return self._estimator.turn(step, {column: float(weights[column]) for column in self.columns})
        size = self.recipe.rollout.batch_size
        mine = shard(size, self.host.rank, self.host.world)
        multipliers = self._spread.draw(step, size)[0][mine.start : mine.stop]
        own = torch.from_numpy(self._spread.problem.weights(multipliers)).to(self.host.device, torch.float32)
        asked = torch.from_numpy(multipliers).to(self.host.device, torch.float32)
        return self._estimator.turn(step, {column: own[:, column] for column in self.columns}, asked)

    def facts(self) -> dict[int, dict[str, float]]:
        return {column: term.facts() for column, term in zip(self.columns, self.terms, strict=True) if hasattr(term, "facts")}

    def noise(self, stream: Stream, step: int, positions: range) -> Tensor:
        """[len(positions), 1 + K, *shape]."""
        return normals(self.recipe.seed, stream, step, positions, (1 + len(self.steps), *self._shape)).to(self.host.device)

    def values(self, path: Path) -> dict[int, Tensor]:
        """Each term's values, [B] or [B, K], by its column."""
        return {column: term.values(path) for column, term in zip(self.columns, self.terms, strict=True)}

    @torch.no_grad()
    def measure(self, weights: Vector, held_out: bool) -> Sums:
        """There is no held-out data to sample: then nothing."""
        sums = Sums(1 + len(self.recipe.constraints))
        evaluation = self.recipe.evaluation
        mine = shard(0 if held_out else evaluation.loss_draws, self.host.rank, self.host.world)
        for start in range(mine.start, mine.stop, evaluation.batch_size):
            positions = range(start, min(start + evaluation.batch_size, mine.stop))
            noise = self.noise(Stream.EVALUATION, 0, positions)
            path = roll_out(self.forward, self.steps, noise, in_turn(self.prompts, positions))
            record(sums, self.values(path))
        return sums
