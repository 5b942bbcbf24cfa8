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
