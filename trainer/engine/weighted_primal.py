"""The primal side of a model without weights: what it predicts follows the multipliers, and a primal step only measures."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.models.composed import Composed
from dualsweep.trainer.models.precision import precision
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.sources.base import AuxiliaryNetwork


class WeightedPrimal:
    """A model that is composed of others, weighted by the multipliers ([CCA] Alg. 3)."""

    together = False

    def __init__(self, recipe: Recipe, predictor: Composed, device: torch.device) -> None:
        self.predictor = predictor.to(device).requires_grad_(False).eval()
        self._columns = {each.term.models(each.value)[0]: each.column for each in recipe.terms}
        self._precision = precision(recipe.train.precision, device)

    def predict(self, x: Tensor, t: Tensor) -> Tensor:
        """The weighted prediction [B, *shape] for x [B, *shape] at timesteps t [B]."""
        prediction: Tensor = self.predictor(x, t)
        return prediction

    def guided(self, x: Tensor, t: Tensor) -> Tensor:
        """The weighted prediction [B, *shape] as it is sampled, with its own guidance."""
        return self.predictor.guided(x, t)

    def train_beside(self, networks: Mapping[str, AuxiliaryNetwork]) -> None:
        """Takes none.

        Raises:
            ValueError: there are some, which would stay as they are.
        """
        if networks:
            raise ValueError(f"a model without weights must go with no network to train beside it, but got {[*networks]}")

    def begin(self, step: int, coefficients: Vector) -> None:
        """Takes the multipliers of a primal step from the Lagrangian's coefficients [1 + m]."""
        self._weigh(coefficients)

    def _weigh(self, coefficients: Vector) -> None:
        self.predictor.weigh({name: coefficients[column] for name, column in self._columns.items()})

    @torch.no_grad()
    def update(self, surrogates: Sequence[Callable[[], Tensor]]) -> Tensor:
        """Measures; there is nothing to update. Returns the norm of a gradient that is not there: 0, or NaN for a bad value."""
        with self._precision:
            return 0.0 * torch.stack([surrogate() for surrogate in surrogates]).sum()

    @contextlib.contextmanager
    def averaged(self, coefficients: Vector) -> Iterator[Composed]:
        """The predictor under the averaged multipliers' coefficients [1 + m]; the present ones come back afterwards."""
        present = self.predictor.shares
        self._weigh(coefficients)
        try:
            yield self.predictor
        finally:
            self.predictor.weigh(present)

    def whole(self, coefficients: Vector) -> AbstractContextManager[Composed]:
        """The predictor of `averaged`."""
        return self.averaged(coefficients)

    def state(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """Nothing: the multipliers are the dual state's, and each primal step begins by taking them."""
        return {}, {}

    def restore(self, groups: dict[str, dict[str, Tensor]], numbers: dict[str, Any]) -> None:
        """There is nothing to put back."""

    def start_from(self, groups: dict[str, dict[str, Tensor]], numbers: dict[str, Any]) -> bool:
        """There is nothing to take over, and nothing is lacking."""
        return True
