"""What share of the samples falls to the classes whose loss is bounded: users bound a loss, and mostly want a share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dualsweep.trainer import metric_names
from dualsweep.trainer.recipe.data import Subset
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result

_SHARE = metric_names.held_out(metric_names.share(""))


@dataclass(frozen=True)
class ClassShare:
    """The share of `count` samples that the judge gives to the classes of one constraint, and 1/K for each of them."""

    name: str
    share: float
    count: int
    even: float

    @property
    def error(self) -> float:
        """The binomial standard error, of the median estimate (as `dualsweep.trainer.evaluation.shares`)."""
        likely = (self.share * self.count + 1.0 / 3.0) / (self.count + 2.0 / 3.0)
        return math.sqrt(likely * (1.0 - likely) / self.count)

    def sentence(self, standing: str) -> str:
        """What became of the loss beside what became of the share."""
        return (
            f"`{self.name}`: loss {standing}, share {self.share:.3g} ± {self.error:.1g} of {self.count} samples "
            f"(an equal one would be {self.even:.3g})"
        )


def classes_of(recipe: Recipe) -> dict[str, list[str]]:
    """By constraint whose loss is on some classes of the data, the metrics of their shares."""
    metrics = {}
    for named in recipe.terms:
        if named.column and isinstance(named.value, Subset) and named.value.classes is not None:
            called = [metric_names.of_classes((each,))[0] for each in named.value.classes]
            metrics[recipe.constraints[named.column - 1].name] = [f"{_SHARE}{each}" for each in called]
    return metrics


def share_in(metrics: Mapping[str, float], named: list[str]) -> float:
    """The share of all these classes together; NaN where one was not measured."""
    return sum(metrics.get(name, math.nan) for name in named)


def class_shares_of(recipe: Recipe, result: Result) -> list[ClassShare]:
    """The shares of a run that has ended, in the order of its constraints; of those that were not measured there are none."""
    known = sum(name.startswith(_SHARE) for name in result.metrics)
    count = recipe.evaluation.samples
    shares = [
        ClassShare(name, share_in(result.metrics, named), count, len(named) / max(1, known))
        for name, named in classes_of(recipe).items()
        if name in result.constraints
    ]
    return [each for each in shares if math.isfinite(each.share)]
