"""Rewards as training uses them: checked at every call, and put on one scale."""

from __future__ import annotations

import inspect
import math
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor

from dualsweep.trainer.config.diagnostics import Keys
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.errors import BadPartError, TrainingError
from dualsweep.trainer.memory import ran_out
from dualsweep.trainer.rewards.checking import no_gradient, problems
from dualsweep.trainer.rewards.registry import Reward, resolve
from dualsweep.trainer.rewards.spec import ByPrompt, RewardContext, RewardFunction, RewardSpec

CONSTANT = 1e-6
"""Values whose standard deviation is below this share of the largest of them differ by rounding alone."""


class Checked:
    """A reward whose every answer is one finite value for each sample, and has a gradient where one is asked for.

    Without `gradient` it is evaluated without recording one.
    """

    def __init__(self, name: str, reward: RewardFunction | ByPrompt, gradient: bool = False) -> None:
        self.name, self.reward, self.gradient = name, reward, gradient
        self._tried = not gradient
        self._unread: list[Tensor] = []

    def __call__(self, x: Tensor, prompts: Tensor | None = None) -> Tensor:
        """The values [B], at least float32, of samples x [B, *shape] in [-1, 1], on the device of x.

        `prompts` [B] says which of several prompts each sample has.

        Raises:
            TrainingError: the reward fails, or returns something other than one finite value for each sample, or values
                without a gradient with respect to x where `gradient` is asked for; or a sample is not finite.
        """
        values = self.later(x, prompts)
        if wrong := int((~self._unread.pop().isfinite()).sum()):
            raise TrainingError(self.fault(wrong, len(values)))
        if wrong := int((~_whole(x)).sum()):
            raise TrainingError(
                f"rewards must be of finite samples, but got NaN or infinity in {wrong} of {len(x)} for {self.name}; take a "
                "model whose samples are finite"
            )
        return values

    def later(self, x: Tensor, prompts: Tensor | None = None) -> Tensor:
        """As a call, but does not wait for the device: that the values are finite is for whoever takes them by `unread`.

        Samples may be what they are: one that is not finite has whatever value the reward gives it, or NaN where it fails on it.
        """
        if not self._tried:
            self._try_gradient(x[:1], prompts[:1] if prompts is not None else None)
            self._tried = True
        with torch.set_grad_enabled(self.gradient and torch.is_grad_enabled()):
            values = self._values(x, prompts)
        self._unread.append(torch.where(_whole(x), values.detach(), 0.0))  # of others the model is at fault
        return values

    def unread(self) -> Tensor:
        """All values [N] that `later` returned and nobody has taken yet; 0 for a sample that was not finite."""
        values, self._unread = self._unread, []
        return torch.cat(values) if values else torch.empty(0)

    def fault(self, wrong: int, count: int) -> str:
        """What is to be said where so many values of `count` are not finite."""
        return (
            f"a reward must return finite values, but got NaN or infinity for {wrong} of {count} samples from {self.name}; fix it"
        )

    def _values(self, x: Tensor, prompts: Tensor | None) -> Tensor:
        try:
            with torch.autocast(x.device.type, enabled=False):  # as its scale and final values are measured
                values: object = self._asked(x, prompts)
        except Exception as error:
            if ran_out(error):
                raise
            if not _whole(x).all():
                return x.flatten(1).sum(1) * math.nan
            if isinstance(error, TrainingError):
                raise
            raise BadPartError(f"the reward {self.name} must not fail", f"{type(error).__name__}: {error}", "fix it") from error
        if inspect.iscoroutine(values):
            values.close()  # or Python warns, beside our own words, that nobody has awaited it
        if not isinstance(values, Tensor) or values.is_complex() or values.shape != x.shape[:1]:
            real = isinstance(values, Tensor) and not values.is_complex()
            received = f"shape {list(values.shape)}" if isinstance(values, Tensor) and real else _kind(values)
            rule = f"a reward must return one value for each sample, a tensor [B] of shape {list(x.shape[:1])}"
            raise BadPartError(rule, f"{received} from {self.name} for samples of {list(x.shape)}", "fix it")
        wide = values if values.dtype in (torch.float32, torch.float64) else values.float()
        return wide.to(x.device)

    def _asked(self, x: Tensor, prompts: Tensor | None) -> Tensor:
        if not isinstance(self.reward, ByPrompt):
            return self.reward(x)
        first = torch.zeros(len(x), dtype=torch.int64)
        return self.reward.function(x, first if prompts is None else prompts)

    @torch.enable_grad()
    def _try_gradient(self, x: Tensor, prompts: Tensor | None) -> None:
        """One sample backwards: values that require a gradient may still not depend on the samples."""
        sample = x.detach().clone().requires_grad_()
        values = self._values(sample, prompts)
        gradient = torch.autograd.grad(values.sum(), sample, allow_unused=True)[0] if values.requires_grad else None
        if gradient is None:
            raise BadPartError(*no_gradient(self.name))


def checked(reward: Reward | RewardSpec, context: RewardContext, gradient: bool = False, keys: Keys = ("reward",)) -> Checked:
    """The reward, built for the samples of `context` and checked at every call; `keys` lead to it in the recipe.

    Raises:
        BadDataError: it does not fit the samples, or lacks a package.
        TrainingError: it cannot be built.
    """
    faults = list(problems(reward, context.shape, context.class_names, keys, gradient, bool(context.prompts)))
    if faults:
        raise BadDataError(*faults)
    spec = resolve(reward)
    return Checked(spec.name, spec.build(context), gradient)


@dataclass(frozen=True)
class Normalised:
    """A reward's mean and standard deviation under the pretrained model, the scale of its budgets (CCA App. G.6)."""

    mean: float
    std: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0):
            raise ValueError(
                f"a reward's scale must be a finite mean and a positive std, but got {self.mean} and {self.std}; "
                "measure it on samples of the pretrained model"
            )

    def __call__(self, values: Tensor) -> Tensor:
        """(r - mean) / std of values r [B]."""
        return (values - self.mean) / self.std

    @classmethod
    def of(cls, values: Tensor, name: str, weights: Vector | None = None) -> Self:
        """The scale of a reward from its values [N] on samples of the pretrained model, from all workers together.

        `weights` [N], 1 on average, are what each counts for; all alike unless given.

        Raises:
            TrainingError: the reward is constant there, so that no scale can be told; or there are fewer than two values.
        """
        wide = values.detach().double().cpu()
        counted = torch.ones_like(wide) if weights is None else torch.from_numpy(weights)
        mean = float((counted * wide).mean())
        std = float((counted * (wide - mean).square()).sum().div(len(wide) - 1).sqrt()) if len(wide) > 1 else 0.0
        if len(wide) < 2 or std <= CONSTANT * float(wide.abs().max()):
            received = f"{len(wide)} samples" if len(wide) < 2 else f"{mean:g} for all of {len(wide)} samples"
            raise TrainingError(
                f"the reward {name} must vary over at least two samples of the pretrained model to be normalised, but got "
                f"{received}; choose another reward, or leave it unnormalised"
            )
        return cls(mean, std)

    def to_json(self) -> dict[str, float]:
        """Plain data from which `from_json` restores every bit."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Self:
        return cls(float(plain["mean"]), float(plain["std"]))


def _whole(x: Tensor) -> Tensor:
    """Whether each sample of x [B, ...] is finite throughout, [B]."""
    return x.detach().flatten(1).isfinite().all(dim=1)


def _kind(value: object) -> str:
    return f"a {value.dtype} tensor" if isinstance(value, Tensor) else f"a {type(value).__name__}"
