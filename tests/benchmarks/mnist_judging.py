"""What samples of MNIST's models are like, by one classifier that was trained on all 5,000 images."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dualsweep.trainer.data.sources import packaged
from dualsweep.trainer.evaluation.images import Rows
from dualsweep.trainer.evaluation.judge import judge_for
from dualsweep.trainer.evaluation.judge_protocol import Judge, classify, embed
from dualsweep.trainer.evaluation.shares import tv_from_uniform
from dualsweep.trainer.evaluation.shipped.frechet import distance
from dualsweep.trainer.recipe.evaluation import Evaluation


@cache
def judge_and_features(output: Path) -> tuple[Judge, NDArray[np.float64]]:
    """The classifier, kept in `output`, and its features of all images [5000, d]."""
    data = packaged.load("mnist")
    judge = judge_for(data, Evaluation().judge, 0, output)
    assert judge is not None
    return judge, embed(judge, Rows(data, np.arange(len(data))))


def judged(samples: torch.Tensor, output: Path) -> dict[str, Any]:
    """Of samples [n, 1, 28, 28]: shares of classes, their total-variation distance from uniform, and Fréchet distance to all."""
    judge, features = judge_and_features(output)
    images = Rows.of(samples.float())
    shares = np.bincount(classify(judge, images).argmax(1), minlength=10) / len(samples)
    return {
        "shares": shares.tolist(), "TV": float(tv_from_uniform(shares)),
        "Fréchet": float(distance(embed(judge, images), features)),
    }  # fmt: skip
