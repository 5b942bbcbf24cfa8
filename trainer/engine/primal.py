"""The primal side of one worker: what it predicts, how a primal step moves it, what is delivered and what is stored of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from torch import Tensor

from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.samplers.rollout import Predict
from dualsweep.trainer.sources.base import AuxiliaryNetwork


class Primal(Protocol):
    """The model of a training and how it follows the Lagrangian.

    By gradients its weights move (`GradientPrimal`); composed of frozen models it has none, and its prediction is weighted by
    the multipliers themselves (`WeightedPrimal`).
    """

    #: Whether `state` and `whole` must be called by all workers, as each has a part.
    together: bool

    @property
    def predictor(self) -> Predictor:
        """The model, as it is now."""
        ...

    @property
    def predict(self) -> Predict:
        """The model's prediction [B, *shape] for x [B, *shape] at timesteps t [B], with gradients where they are enabled."""
        ...

    @property
    def guided(self) -> Predict:
        """The model's prediction as it is sampled, with its own guidance."""
        ...

    def train_beside(self, networks: Mapping[str, AuxiliaryNetwork]) -> None:
        """Trains networks, by name, beside the model from now on.

        Raises:
            ValueError: there are some, and nothing is trained.
        """
        ...

    def begin(self, step: int, coefficients: Vector) -> None:
        """To be called before anything of primal step `step` is computed, with the Lagrangian's coefficients [1 + m]."""
        ...

    def update(self, surrogates: Sequence[Callable[[], Tensor]]) -> Tensor:
        """One update along the gradient of the sum of scalars, averaged over workers; they are computed one after another.

        Returns the norm of that gradient, a scalar on the device; not finite where the update was void, 0 without weights.
        """
        ...

    def averaged(self, coefficients: Vector) -> AbstractContextManager[Predictor]:
        """The model that is delivered: with averaged weights, or under the averaged multipliers' coefficients [1 + m].

        What it was comes back afterwards.
        """
        ...

    def whole(self, coefficients: Vector) -> AbstractContextManager[Predictor | None]:
        """The model of `averaged` in one piece, as it is stored; None on workers but the first where each has a part."""
        ...

    def state(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """Tensors by group, on the CPU, and the plain numbers beside them: what a checkpoint stores.

        Where each worker has a part, the first one has the content, the others names and shapes alone.
        """
        ...

    def restore(self, groups: dict[str, dict[str, Tensor]], numbers: dict[str, Any]) -> None:
        """Puts back what `state` returned, bit for bit."""
        ...

    def start_from(self, groups: dict[str, dict[str, Tensor]], numbers: dict[str, Any]) -> bool:
        """Takes over what another run's `state` returned, but for the options and rates of its optimiser.

        Returns whether what its optimiser remembers is what this one's does; if not, this one begins with nothing.
        """
        ...
