"""The KLs of a product of frozen models, of which autocast computes the models alone in half precision."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dualsweep.trainer.sources.dual_only import DualOnlySource
from tests.known.models import OVALS, Gaussian
from tests.known.test_composition import composed
from tests.trainer.models.test_build import prepared


class Whole(Gaussian):
    """A model that is in full precision wherever it is asked."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x, t)


oval_0, oval_1, oval_2 = (partial(Whole, *each) for each in OVALS)
COEFFICIENTS = np.array([0.0, 0.3, 0.5, 0.2])


def values(folder: Path, half: bool) -> Tensor:
    """A step's values [B, 3]."""
    names = ["oval_0", "oval_1", "oval_2"]
    recipe = composed(
        "composition_and", names, "kl", [2], models={name: {"call": f"{__name__}:{name}"} for name in names},
        dual={"rule": "simplex"}, train={"steps": 1, "batch_size": 64}, product={"samples": 64, "levels": 10, "steps": 2},
    )  # fmt: skip
    (source,) = prepared(recipe, folder).sources
    assert isinstance(source, DualOnlySource)
    step = source.begin_step(0, COEFFICIENTS)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        step.loss(0)
    assert step._values is not None
    return step._values


def test_half_precision_is_of_the_models_and_not_of_what_is_made_of_their_predictions(tmp_path: Path) -> None:
    assert torch.equal(values(tmp_path / "half", True), values(tmp_path / "full", False))
