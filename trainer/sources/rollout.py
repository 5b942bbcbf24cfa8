"""Terms on the trained model's own trajectories: one rollout serves them all, so a reward more costs one evaluation more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from trainer import rollout as rollouts
from trainer.draws import Stream, generator, normals, shard
from trainer.problem import Vector
from trainer.rollout import Path, Steps
from trainer.setting import Setting
from trainer.sources.source import Sums


class RolloutTerm(Protocol):
    """A term on trajectories. One that has `facts() -> dict of floats` has them stored with the run."""

    def values(self, path: Path) -> Tensor:
        """Per-sample values [B], or [B, K] where they are sums over the steps."""
        ...


class RolloutSource:
    """Trajectories of the present weights, drawn anew in each primal step."""

    def __init__(self, setting: Setting, columns: Sequence[int], terms: Sequence[RolloutTerm], steps: Steps) -> None:
        self.columns = tuple(columns)
        self.recipe, self.host, self.forward, self.steps = setting.recipe, setting.host, setting.sampling, steps
        self.terms = list(terms)
        self._shape = setting.shape

    def turn(self, step: int, weights: Vector) -> Backpropagated | PolicyGradient:
        own = {column: float(weights[column]) for column in self.columns}
        return ESTIMATORS[self.recipe.rollout.gradient](self, step, own)

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
            path = rollouts.roll_out(self.forward, self.steps, self.noise(Stream.EVALUATION, 0, positions))
            record(sums, self.values(path))
        return sums


def record(sums: Sums, values: Mapping[int, Tensor]) -> None:
    """Adds the terms' values, measured on the same samples."""
    sums.add_joint(list(values), torch.stack([per_sample(each) for each in values.values()], dim=1))


def per_sample(values: Tensor) -> Tensor:
    return values.sum(1) if values.ndim == 2 else values


class _Turn:
    """What both estimators share: this worker's shard of the trajectories, and what was measured on them."""

    def __init__(self, source: RolloutSource, step: int, weights: Mapping[int, float]) -> None:
        self._source, self._step, self._weights = source, step, weights
        self._size = source.recipe.rollout.batch_size
        self._mine = shard(self._size, source.host.rank, source.host.world)
        self._measured: dict[int, Tensor] = {}

    def _noise(self) -> Tensor:
        return self._source.noise(Stream.ROLLOUT, self._step, self._mine)

    def _share(self, values: Tensor) -> Tensor:
        """The sum over this shard of [b] values, scaled so that its average over workers is the global batch's mean."""
        return values.sum() * (self._source.host.world / self._size)

    def add_to(self, sums: Sums) -> None:
        record(sums, self._measured)

    def fault(self) -> str | None:
        return None


class Backpropagated(_Turn):
    """The gradient through the sampler: exact without truncation (AlignProp, arXiv 2310.03739)."""

    rounds = 1

    def loss(self, number: int) -> Tensor:
        spec = self._source.recipe.rollout
        path = rollouts.roll_out(
            self._source.forward, self._source.steps, self._noise(), self._through(), spec.activation_checkpointing
        )
        values = self._source.values(path)
        self._measured = {column: each.detach() for column, each in values.items()}
        shares = [self._weights[column] * self._share(per_sample(each)) for column, each in values.items()]
        return torch.stack(shares).sum()

    def _through(self) -> int | None:
        """The number of last steps that rewards are backpropagated through; one draw for the whole batch."""
        truncation, steps = self._source.recipe.rollout.truncation, len(self._source.steps)
        most = min(truncation.steps or steps, steps)
        uniform = generator(self._source.recipe.seed, Stream.TRUNCATION, self._step)
        draws: dict[str, Callable[[], int | None]] = {
            "none": lambda: None,
            "fixed": lambda: most,
            "uniform": lambda: int(uniform.integers(1, most + 1)),
            "gaussian": lambda: int(np.clip(round(uniform.normal(most, truncation.spread)), 1, steps)),
        }
        return draws[truncation.kind]()


class PolicyGradient(_Turn):
    """The gradient by likelihood ratios of the denoising steps, for black-box rewards (DDPO, arXiv 2305.13301, eq. 3).

    With kl_k(theta) the terms that are sums over steps and r those on samples, grad E[sum_k kl_k + r] = E[sum_k grad kl_k +
    sum_k grad log p(x_{k+1} | x_k) (sum_{j > k} kl_j + r - baseline_k)]. The baseline is the mean over the other samples;
    past the first update the ratio of likelihoods is clipped, as in PPO.
    """

    def __init__(self, source: RolloutSource, step: int, weights: Mapping[int, float]) -> None:
        super().__init__(source, step, weights)
        self.rounds = source.recipe.rollout.updates
        self._path: Path | None = None

    def loss(self, number: int) -> Tensor:
        spec, source = self._source.recipe.rollout, self._source
        if self._path is None:
            self._path = self._drawn()
        path = rollouts.revisit(source.forward, self._path, spec.activation_checkpointing)
        ratio = (path.log_likelihoods() - self._before).exp()
        clipped = ratio.clamp(1 - spec.clip_range, 1 + spec.clip_range)
        loss = self._share(torch.maximum(ratio * self._advantage, clipped * self._advantage).sum(1))
        for column, term in zip(source.columns, source.terms, strict=True):
            if self._measured[column].ndim == 2:
                loss = loss + self._weights[column] * self._share(term.values(path).sum(1))
        return loss

    @torch.no_grad()
    def _drawn(self) -> Path:
        source = self._source
        path = rollouts.roll_out(source.forward, source.steps, self._noise())
        self._measured = source.values(path)
        self._before = path.log_likelihoods()
        later = torch.zeros_like(self._before)
        for column, each in self._measured.items():
            ahead = each.flip(1).cumsum(1).flip(1) - each if each.ndim == 2 else each[:, None]
            later = later + self._weights[column] * ahead
        total = source.host.total(later.sum(0))
        # Less the mean over the *other* samples: unbiased, unlike less the mean over all.
        self._advantage = (later - total / self._size) * (self._size / max(1, self._size - 1))
        return path


ESTIMATORS: dict[str, Callable[[RolloutSource, int, Mapping[int, float]], Backpropagated | PolicyGradient]] = {
    "backpropagation": Backpropagated,
    "policy_gradient": PolicyGradient,
}
