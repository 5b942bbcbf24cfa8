"""A judge and a metric by import path."""

import torch
from torch import Tensor

from dualsweep.trainer.evaluation.metrics import Evidence


class Sides:
    """A judge: `features` embeds, `probabilities` classifies in the order of the data's classes (here left, right)."""

    def features(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def probabilities(self, x: Tensor) -> Tensor:
        right = (x.flatten(1)[:, 0] > 0).float()
        return torch.stack([1 - right, right], dim=1)


def build() -> Sides:
    """For `evaluation.judge.call`: takes nothing and returns the judge."""
    return Sides()


def spread(evidence: Evidence) -> dict[str, float]:
    """For `evaluation.metrics`: a dict of floats, which MLflow shows as `eval/spread_x` and `eval/spread_y`."""
    deviation = evidence.samples.std(dim=0)
    return {"spread_x": float(deviation[0]), "spread_y": float(deviation[1])}
