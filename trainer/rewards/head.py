"""The head of an aesthetic score or of ImageReward: linear layers without activations, from an embedding to a value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from dualsweep.trainer.errors import TrainingError


@dataclass(frozen=True)
class Head:
    """The weight [out, in] and the bias [out] of every layer, in order; from `width` numbers to one."""

    layers: tuple[tuple[Tensor, Tensor | None], ...]

    @classmethod
    def of(cls, weights: dict[str, Tensor], width: int, device: torch.device, source: str) -> Self:
        """From a state dict, as `weight` and `bias` of one layer or `layers.0.weight`, … of more; `source` is for errors.

        What else such a head was trained with, as dropout, has no weights and does nothing here.

        Raises:
            TrainingError: the weights are others than those of such layers.
        """
        names = sorted((name.removesuffix("weight") for name in weights if name.endswith("weight")), key=_natural)
        sizes = [tuple(weights[f"{name}weight"].shape) for name in names]
        chained = [shape[::-1] for shape in sizes] if all(len(shape) == 2 for shape in sizes) else []
        ends = [width, *(out for _, out in chained)]
        fits = bool(chained) and [into for into, _ in chained] == ends[:-1] and ends[-1] == 1
        if not fits or set(weights) - {f"{name}{part}" for name in names for part in ("weight", "bias")}:
            shapes = {name: list(tensor.shape) for name, tensor in weights.items()}
            raise TrainingError(
                f"a scorer's head must hold linear layers from {width} numbers to 1 for this model, but got {shapes} in "
                f"{source}; give the head that was trained on this model's embeddings"
            )
        held = {name: tensor.to(device, torch.float32) for name, tensor in weights.items()}
        return cls(tuple((held[f"{name}weight"], held.get(f"{name}bias")) for name in names))

    def __call__(self, embedding: Tensor) -> Tensor:
        """The values [B] of embeddings [B, width]."""
        for weight, bias in self.layers:
            embedding = F.linear(embedding, weight, bias)
        return embedding[:, 0]


def _natural(name: str) -> list[int]:
    """Layers in the order of their numbers: `layers.10.` after `layers.9.`."""
    return [int(number) for number in re.findall(r"\d+", name)]
