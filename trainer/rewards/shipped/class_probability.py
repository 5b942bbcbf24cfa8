"""How sure the judge is that a sample is of one class."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.config.wording import nearest, show
from dualsweep.trainer.recipe.base import ClassName
from dualsweep.trainer.rewards.spec import RewardContext, RewardFunction, RewardSpec

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST = 1e-30
"""Added to a probability below a logarithm: nothing to any but those that float32 has rounded to zero."""


class ClassProbability(RewardSpec):
    """The judge's probability of one class, from 0 to 1; or its logarithm, from -69 to 0."""

    word: ClassVar[str] = "class_probability"
    differentiable: ClassVar[bool | None] = None  # as the judge is, which may be a user's
    between: ClassVar[tuple[float, float]] = (0.0, 1.0)
    needs: ClassVar[frozenset[str]] = frozenset({"judge"})
    channels: ClassVar[tuple[int, ...] | None] = None
    short: ClassVar[str | None] = "class"

    of: ClassName = Field(alias="class", description="the class", examples=["4"])
    log: bool = Field(False, description="true for the logarithm of the probability", examples=["true"])

    @property
    def bounds(self) -> tuple[float, float]:
        """Of the probability, or of its logarithm."""
        return (math.log(SMALLEST), 0.0) if self.log else self.between

    def build(self, context: RewardContext) -> RewardFunction:
        from dualsweep.trainer.data.class_names import find
        from dualsweep.trainer.errors import TrainingError

        judge, label = context.judge(), find(self.of, context.class_names)
        if judge is None or label is None:
            received = "none" if judge is None else f"{show(self.of)} ({nearest(self.of, context.class_names)})"
            raise TrainingError(
                f"the reward {self.word} must have a judge that knows the class, but got {received}; give data with labels, or "
                "`evaluation.judge.call`, and name one of its classes"
            )

        def probability(x: Tensor) -> Tensor:
            value = judge.probabilities(x)[:, label]
            return (value + SMALLEST).log() if self.log else value

        return probability

    def mistakes(self, shape: tuple[int, ...] | None, class_names: Sequence[ClassName] | None) -> Iterator[Diagnostic]:
        from dualsweep.trainer.data.class_names import find  # which knows the recipe, and that knows the rewards

        if class_names is not None and not class_names:
            yield Diagnostic(
                ("class",), "must go with data that has labels", show(self.of), "give labelled data, or another reward"
            )
        elif class_names is not None and find(self.of, class_names) is None:
            yield Diagnostic(("class",), "must be a class of the data", show(self.of), nearest(self.of, class_names))
