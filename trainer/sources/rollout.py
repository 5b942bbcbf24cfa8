"""Terms on the trained model's own trajectories: one rollout serves them all, so a reward more costs one evaluation more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from trainer.draws import Stream, in_turn, normals, shard
from trainer.evaluation.drawn import JointDraws, Scale
from trainer.problem import Vector
from trainer.samplers.chain import Steps
from trainer.samplers.rollout import Path, roll_out
from trainer.setting import Setting
from trainer.sources.estimators import estimator
from trainer.sources.source import Companion, Integers, Source, Turn
from trainer.sources.turn import Weights, per_sample


class RolloutTerm(Protocol):
    """A term on trajectories. One that has `facts() -> dict of floats` has them stored with the run.

    `standardised` [N], where a term has it, are the values that its scale was taken from, on that scale.
    """

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
        """[len(positions), K, *shape]."""
        return normals(self.recipe.seed, stream, step, positions, (len(self.steps), *self._shape)).to(self.host.device)

    def values(self, path: Path) -> dict[int, Tensor]:
        """Each term's values, [B] or [B, K], by its column."""
        return {column: term.values(path) for column, term in zip(self.columns, self.terms, strict=True)}

    @torch.no_grad()
    def measure(self, weights: Vector, held_out: bool, draws: range) -> list[JointDraws]:
        """There is no held-out data to sample: then nothing."""
        mine, size = shard(len(draws), self.host.rank, self.host.world), self.recipe.evaluation.batch_size
        if held_out or not len(mine):
            return []
        own, found = draws[mine.start : mine.stop], []
        for start in range(0, len(own), size):
            positions = own[start : start + size]
            noise = self.noise(Stream.EVALUATION, 0, positions)
            path = roll_out(self.forward, self.steps, noise, in_turn(self.prompts, positions))
            found.append(torch.stack([per_sample(each) for each in self.values(path).values()], dim=1))
        plain = torch.cat(found).double().cpu().numpy()
        return [JointDraws(self.columns, plain, (len(plain),), groups=turns(self.prompts, own))]

    def scales(self) -> list[Scale]:
        """The scale of each normalised reward, all on the same samples of the pretrained model."""
        found = {c: term.standardised for c, term in zip(self.columns, self.terms, strict=True) if hasattr(term, "standardised")}
        known = {column: z for column, z in found.items() if z is not None}
        if not known:
            return []
        z = torch.stack(list(known.values()), dim=1).numpy()
        return [Scale(tuple(known), z, turns(self.prompts, range(len(z))))]


def turns(prompts: int, positions: range) -> Integers | None:
    """Which prompt each of these positions has, [n]; None where there is one at most."""
    which = in_turn(prompts, positions)
    return which.numpy() if which is not None else None
