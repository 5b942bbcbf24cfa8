"""What one reward is: its word and options as a recipe writes them, what it needs, and how it is built."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import model_validator

from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.recipe.base import ClassName, Section

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from dualsweep.trainer.evaluation.judge_protocol import Judge

RewardFunction = Callable[["Tensor"], "Tensor"]
"""From samples [B, *shape] in [-1, 1] to their values [B]."""


@dataclass(frozen=True)
class ByPrompt:
    """A reward that depends on each sample's own prompt.

    function: from samples [B, *shape] in [-1, 1] and which of `RewardContext.prompts` each has, [B], to their values [B].
    """

    function: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class RewardContext:
    """What a reward may use when it is built. `judge` is called only by rewards that need one; it may return None.

    `prompts` are the texts of which each sample has one; none for samples of a model without.
    """

    shape: tuple[int, ...]
    device: torch.device
    judge: Callable[[], Judge | None]
    class_names: Sequence[ClassName] = ()
    prompts: Sequence[str] = ()


class RewardSpec(Section):
    """A reward's options. A subclass in `trainer/rewards/shipped/` is a reward of that `word`."""

    #: How recipes name it.
    word: ClassVar[str]
    #: Whether values have a gradient with respect to the samples; None where only trying tells.
    differentiable: ClassVar[bool | None]
    #: Whether its options tell all that can be wrong with it; where not, it is built and asked before a run starts.
    certain: ClassVar[bool] = True
    #: What of the context it uses beside shape and device: {"judge"}, or nothing.
    needs: ClassVar[frozenset[str]] = frozenset()
    #: The channel counts of the images it is defined on; None: samples of any shape.
    channels: ClassVar[tuple[int, ...] | None] = (1, 3)
    #: The least and the largest that it can be of any samples, where that depends on no option (else `bounds`).
    between: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    #: The option that a plain value stands for: `{call: my:reward}` is `{call: {path: my:reward}}`.
    short: ClassVar[str | None] = None
    #: Packages beyond the required ones, and the extra of the distribution that installs them.
    packages: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str | None] = None

    @model_validator(mode="before")
    @classmethod
    def _plain_value(cls, value: Any) -> Any:
        plain = cls.short is not None and isinstance(value, str | int | float)
        return {cls.short: value} if plain else value

    @property
    def name(self) -> str:
        """How errors name this reward."""
        return self.word

    @property
    def needs_prompt(self) -> bool:
        """Whether it takes the prompts of the samples."""
        return False

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest that it can be of any samples."""
        return self.between

    def build(self, context: RewardContext) -> RewardFunction | ByPrompt:
        """The function from samples [B, *shape] in [-1, 1] to values [B] of any real type, on any device.

        Heavy libraries are imported here, not with the module.

        Raises:
            TrainingError: it cannot be built, e.g. a model that cannot be loaded.
        """
        raise NotImplementedError

    def mistakes(self, shape: tuple[int, ...] | None, class_names: Sequence[ClassName] | None) -> Iterator[Diagnostic]:
        """What can be told within moments to be wrong, for samples of `shape` (None: not known); keys lead on from the reward."""
        yield from ()

    def missing_packages(self) -> list[str]:
        """The names among `packages` that are not installed."""
        return [package for package in self.packages if find_spec(package) is None]
