"""Terms on the trained model's own trajectories: one rollout serves them all, so a reward more costs one evaluation more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.evaluation.drawn import Calibration, JointDraws
from dualsweep.trainer.evaluation.scale import Scale
from dualsweep.trainer.rng import Stream, batches, drawn, in_turn, most_batches, normals, shard
from dualsweep.trainer.samplers.chain import Steps
from dualsweep.trainer.samplers.rollout import Path, roll_out
from dualsweep.trainer.sources.base import AuxiliaryNetwork, Inputs, Source, SourceStep
from dualsweep.trainer.sources.step_multipliers import Coefficients
from dualsweep.trainer.sources.value_accumulator import Integers, ValueAccumulator
from dualsweep.trainer.terms.context import TermContext
from dualsweep.trainer.terms.shipped.reward import RewardTerm
from dualsweep.trainer.terms.shipped.share import ShareTerm, judge_errors, judged_alike
from dualsweep.trainer.transfer import sent


def record(sums: ValueAccumulator, values: Mapping[int, Tensor]) -> None:
    """Adds the terms' values, measured on the same samples."""
    sums.add_joint(list(values), torch.stack([per_sample(each) for each in values.values()], dim=1))


def per_sample(values: Tensor) -> Tensor:
    return values.sum(1) if values.ndim == 2 else values


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
    def updates(self) -> int:
        """Updates of the weights on each batch of trajectories."""
        ...

    def companions(self) -> Mapping[str, AuxiliaryNetwork]:
        """Networks that it learns beside the model."""
        ...

    def begin_step(self, step: int, coefficients: Coefficients, multipliers: Tensor | None = None) -> SourceStep:
        """The estimator's part of primal step `step`, for the Lagrangian's normalised coefficients by column.

        Where each of this shard's b trajectories has `multipliers` [b, m] of its own, coefficients are [b].
        """
        ...


class RolloutSource(Source):
    """Trajectories of the present weights, drawn anew in each primal step."""

    def __init__(
        self, setting: TermContext, columns: Sequence[int], terms: Sequence[RolloutTerm], steps: Steps,
        estimator: Callable[[RolloutSource, TermContext], Estimator],
    ) -> None:  # fmt: skip
        self.columns = tuple(columns)
        self.setting, self.host, self.forward, self.steps = setting, setting.host, setting.sampling, steps
        self.terms = list(terms)
        self._shape, self.prompts = setting.shape, len(setting.prompts)
        self._estimator = estimator(self, setting)
        self.updates = self._estimator.updates

    def companions(self) -> Mapping[str, AuxiliaryNetwork]:
        return self._estimator.companions()

    def begin_step(self, step: int, coefficients: Vector) -> SourceStep:
        size = self.setting.rollout.batch_size
        own, asked = self.setting.multipliers.trajectories(step, coefficients, self.columns, size, self.host)
        return self._estimator.begin_step(step, own, **asked)

    def facts(self) -> dict[int, dict[str, float]]:
        return {column: term.facts() for column, term in zip(self.columns, self.terms, strict=True) if hasattr(term, "facts")}

    def noise(self, stream: Stream, step: int, positions: range) -> Tensor:
        """[len(positions), K, *shape]."""
        return sent(normals(self.setting.seed, stream, step, positions, (len(self.steps), *self._shape)), self.host.device)

    def values(self, path: Path) -> dict[int, Tensor]:
        """Each term's values, [B] or [B, K], by its column."""
        return {column: term.values(path) for column, term in zip(self.columns, self.terms, strict=True)}

    def unread(self) -> Inputs | None:
        """The rewards' values since this was last asked for, of which it is not known yet whether they are finite."""
        rewards = [term.reward for term in self.terms if isinstance(term, RewardTerm | ShareTerm)]
        values = [reward.unread() for reward in rewards]
        if not sum(map(len, values)):
            return None
        ends = np.cumsum([len(each) for each in values])

        def fault(bad: Integers) -> str:
            first = int(np.searchsorted(ends, bad[0], side="right"))
            return rewards[first].fault(int((bad < ends[first]).sum()), len(values[first]))

        return Inputs(torch.cat(values).abs(), fault, always=True)

    @torch.no_grad()
    def measure(self, coefficients: Vector, held_out: bool, draws: range) -> list[JointDraws]:
        """There is no held-out data to sample: then nothing."""
        mine, size = shard(len(draws), self.host.rank, self.host.world), self.setting.evaluation.batch_size
        if held_out or not len(mine):
            return []
        judged = list(judged_alike(self._shares.values()).values())
        own, values, beside = draws[mine.start : mine.stop], list[Tensor](), list[Tensor]()
        for positions in batches(own, size, most_batches(len(draws), self.host.world, size)):
            noise = self.noise(Stream.EVALUATION, 0, positions)
            path = roll_out(self.forward, self.steps, noise, in_turn(self.prompts, positions))
            values.append(torch.stack([per_sample(each) for each in self.values(path).values()], dim=1))
            beside += [torch.cat([each.composition(path) for each in judged], dim=1)] if judged else []
        if (unread := self.unread()) and (error := unread.error()):
            raise TrainingError(error)
        plain = torch.cat(values).double().cpu().numpy()
        said = torch.cat(beside).double().cpu().numpy() if beside else None
        which = turns(self.prompts, own)
        factors = self._factors(which) if which is not None else None
        return [JointDraws(self.columns, plain, (len(plain),), groups=which, beside=said, factors=factors)]

    def _factors(self, which: Integers) -> Vector | None:
        """What values of draws of these prompts [n] are multiplied by, [n, k]; None where no share is of some prompts alone."""
        known = {column: each.factors for column, each in self._shares.items() if each.factors is not None}
        if not known:
            return None
        return np.stack([known[c].double().numpy()[which] if c in known else np.ones(len(which)) for c in self.columns], axis=1)

    @property
    def _shares(self) -> dict[int, ShareTerm]:
        """The terms that are shares, by column."""
        return {column: each for column, each in zip(self.columns, self.terms, strict=True) if isinstance(each, ShareTerm)}

    def calibrations(self) -> list[Calibration]:
        """The scales of normalised rewards, all on the same samples of the pretrained model; the errors of shares' judges."""
        return [*self._scales(), *judge_errors(self._shares)]

    def _scales(self) -> list[Scale]:
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


class RolloutStep:
    """What the estimators share: this worker's shard of the trajectories, and what was measured on them."""

    def __init__(
        self, source: RolloutSource, step: int, coefficients: Coefficients, multipliers: Tensor | None = None
    ) -> None:  # fmt: skip
        self._source, self._step, self._coefficients = source, step, coefficients
        self._forward = source.forward if multipliers is None else partial(source.forward, multipliers=multipliers)
        self._size = source.setting.rollout.batch_size
        self._mine = shard(self._size, source.host.rank, source.host.world)
        self._measured: dict[int, Tensor] = {}

    def _rolled_out(self, through: int | None = None, recompute: bool = False) -> Path:
        """This shard's trajectories of the present weights."""
        source = self._source
        noise = source.noise(Stream.ROLLOUT, self._step, self._mine)
        prompts = drawn(source.prompts, source.setting.seed, self._step, self._size)
        own = prompts[self._mine.start : self._mine.stop] if prompts is not None else None
        return roll_out(self._forward, source.steps, noise, own, through=through, recompute=recompute)

    def _share(self, values: Tensor) -> Tensor:
        """The sum over this shard of [b] values, scaled so that its average over workers is the global batch's mean."""
        return values.sum() * (self._source.host.world / self._size)

    def add_to(self, sums: ValueAccumulator) -> None:
        record(sums, self._measured)

    def inputs(self) -> Inputs | None:
        return self._source.unread()


class PlainEstimator:
    """An estimator without a network of its own to learn."""

    step: type[RolloutStep]

    def __init__(self, source: RolloutSource, setting: TermContext) -> None:
        self._source = source

    @property
    def updates(self) -> int:
        return 1

    def companions(self) -> dict[str, AuxiliaryNetwork]:
        return {}

    def begin_step(self, step: int, coefficients: Coefficients, multipliers: Tensor | None = None) -> RolloutStep:
        return self.step(self._source, step, coefficients, multipliers)
