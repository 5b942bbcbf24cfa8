"""Which multipliers a training has: moved by dual ascent, or a whole range of them (`trainer/amortised/policy.py`).

All that differs by it is asked of the policy, which is chosen in one place, `trainer/engine/dual_side.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from dualsweep.trainer.dual.controller import Controller
from dualsweep.trainer.dual.coordinator import DualController
from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.dual.settling import settled_errors, settled_multipliers
from dualsweep.trainer.dual.state import DualState
from dualsweep.trainer.engine.host import Host
from dualsweep.trainer.evaluation.drawn import DrawnValues
from dualsweep.trainer.result import ConstraintOutcome, Status, verdict
from dualsweep.trainer.sources.mixture_batch import GlobalBatch, Integers, Mixture, draw, sizes
from dualsweep.trainer.sources.step_multipliers import Coefficients, StepMultipliers

if TYPE_CHECKING:
    from dualsweep.trainer.evaluation.evaluated import Evaluated
    from dualsweep.trainer.models.predictor import Predictor


def _nothing(_: DrawnValues) -> dict[str, bytes]:
    return {}


@dataclass(frozen=True)
class Delivery:
    """Where the delivered model is evaluated.

    multipliers, errors  [m], and their standard errors, NaN where not measured
    files                from the values drawn there, what is kept beside the result and in the last checkpoint
    """

    multipliers: Vector
    errors: Vector
    files: Callable[[DrawnValues], dict[str, bytes]] = _nothing


class MultiplierPolicy(StepMultipliers, Protocol):
    """The multipliers of a training, from its first step to its result."""

    @property
    def controller(self) -> DualController:
        """What the coordinator does at each dual step."""
        ...

    def conditions(self, predictor: Predictor) -> bool:
        """Makes the model depend on multipliers where it must; whether it did."""
        ...

    def shown(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """The metrics of a training point that say something under this policy."""
        ...

    def deliver(self, run: Evaluated, model: Predictor, state: DualState, steps: int) -> Delivery:
        """Puts the averaged `model` of a training that is over where it is evaluated; called by all workers."""
        ...

    def ending(self, state: DualState, constraints: Mapping[str, ConstraintOutcome]) -> tuple[Status, str]:
        """How a run that used all its steps ended, and why."""
        ...

    def sampled_at(self, checkpoint: str) -> Mapping[str, float] | None:
        """The multipliers by constraint that a stored model is sampled at unless others are asked for; None where it takes none.

        Raises:
            TrainingError: the training has not ended, which would say them.
        """
        ...


@dataclass(frozen=True)
class DualAscent:
    """Multipliers that the coordinator moves: all samples of a step have the same."""

    controller: Controller

    def batch(self, step: int, coefficients: Vector, mixture: Mixture, first: Integers) -> GlobalBatch:
        own = coefficients[mixture.columns]
        return draw(mixture, sizes(own, mixture.columns, mixture.train), first, own, step)

    def trajectories(
        self, step: int, coefficients: Vector, columns: Sequence[int], size: int, host: Host
    ) -> tuple[Coefficients, Mapping[str, Tensor]]:  # fmt: skip
        return {column: float(coefficients[column]) for column in columns}, {}

    def conditions(self, predictor: Predictor) -> bool:
        return False

    def shown(self, metrics: Mapping[str, float]) -> dict[str, float]:
        return dict(metrics)

    def deliver(self, run: Evaluated, model: Predictor, state: DualState, steps: int) -> Delivery:
        return Delivery(settled_multipliers(state), settled_errors(state, self.controller.dual.rule))

    def ending(self, state: DualState, constraints: Mapping[str, ConstraintOutcome]) -> tuple[Status, str]:
        return verdict(state, constraints)

    def sampled_at(self, checkpoint: str) -> Mapping[str, float] | None:
        return None
