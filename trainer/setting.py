"""What a term and its source may use when they are built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from diffusers import DDPMScheduler
from torch import Tensor

from trainer.host import Host
from trainer.models import Predictor
from trainer.recipe import ClassName, Recipe


@dataclass(frozen=True)
class Setting:
    """shape: of a sample. predict: the trained model with its present weights, (x [B, *shape], t [B]) -> [B, *shape].

    frozen: models by name, in evaluation mode, without gradients to their weights. judge: trained when first asked for.
    """

    recipe: Recipe
    shape: tuple[int, ...]
    schedule: DDPMScheduler
    host: Host
    predict: Callable[[Tensor, Tensor], Tensor]
    frozen: Mapping[str, Predictor]
    judge: Callable[[], Any] = field(repr=False)
    class_names: tuple[ClassName, ...] = ()

    def noise_of(self, x: Tensor, t: Tensor, prediction: Tensor) -> Tensor:
        """The noise [B, *shape] that a prediction for x at t means, whatever the models predict."""
        if self.schedule.config.prediction_type != "v_prediction":
            return prediction
        signal = self.schedule.alphas_cumprod.to(x.device)[t].view(-1, *[1] * (x.ndim - 1))
        noise: Tensor = signal.sqrt() * prediction + (1 - signal).sqrt() * x
        return noise
