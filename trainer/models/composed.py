"""A model without weights of its own: the weighted sum of the predictions of others ([CCA] §4, Alg. 3, and §5).

With the weights on the simplex this is the prediction of the product Π q_i^λ_i of the noised models. With guidance s it is
eps_0 + s Σ λ_i (eps_i - eps_0), the composition of concepts (Liu et al. 2022, arXiv 2206.01714).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.predictor import Predictor


class Composed(Predictor):
    """Σ λ_i of the predictions of `parts`; under guidance it leads away from `base`, or from each part's own unconditional one.

    Raises:
        TrainingError: guidance without a base, of a part that has no unconditional prediction.
    """

    def __init__(self, parts: Mapping[str, Predictor], base: Predictor | None = None, guidance: float | None = None) -> None:
        super().__init__(nn.ModuleList([*parts.values(), *([] if base is None else [base])]))
        self.parts, self.base, self.scale = dict(parts), base, guidance
        self.shares = dict.fromkeys(parts, 1 / len(parts))
        for name, part in parts.items() if guidance is not None and base is None else ():
            if not part.has_unconditional:
                raise TrainingError(
                    f"model.compose.base must be given where a model has no unconditional prediction, but got none for "
                    f"models.{name}; name an unconditional entry of `models`"
                )

    @property
    def texts(self) -> tuple[str, ...]:
        """The prompts of a part that has several, which stand for the same samples in all parts; none where each part has one."""
        return next((part.texts for part in self.parts.values() if len(part.texts) > 1), ())

    def weigh(self, shares: Mapping[str, float]) -> Self:
        """Takes these weights of the parts, by name."""
        self.shares = {name: float(shares[name]) for name in self.parts}
        return self

    def under(self, schedule: DDPMScheduler) -> Self:
        for part in (*self.parts.values(), *([] if self.base is None else [self.base])):
            part.under(schedule)
        return self

    # No conditioning on multipliers: these are its weights.
    def forward(  # type: ignore[override]
        self, x: Tensor, t: Tensor, prompts: Tensor | None = None
    ) -> Tensor:  # fmt: skip
        return self._sum({name: part(x, t, prompts) for name, part in self._used()})

    def guided(  # type: ignore[override]
        self, x: Tensor, t: Tensor, prompts: Tensor | None = None
    ) -> Tensor:  # fmt: skip
        """What the composed sampler asks, [B, *shape]; without guidance of its own the sum of the parts' guided predictions."""
        if self.scale is None:
            return self._sum({name: part.guided(x, t, prompts) for name, part in self._used()})
        if self.base is None:
            return self._sum({name: part.led(x, t, self.scale, prompts) for name, part in self._used()})
        start: Tensor = self.base(x, t, prompts)
        led: Tensor = start + self.scale * (self(x, t, prompts) - start)
        return led

    def _used(self) -> list[tuple[str, Predictor]]:
        """A part without weight costs nothing."""
        return [(name, self.parts[name]) for name, weight in self.shares.items() if weight > 0]

    def _sum(self, predictions: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([self.shares[name] * each.float() for name, each in predictions.items()]).sum(0)
