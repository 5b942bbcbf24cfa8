"""How often each class is sampled, as the judge sees it."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from trainer.errors import TrainingError
from trainer.evaluation.asking import classify
from trainer.evaluation.evidence import Evidence, needed_judge
from trainer.evaluation.images import Rows

Reals = NDArray[np.float64]


def class_shares(evidence: Evidence) -> dict[str, float]:
    """`share/CLASS` of every class, and `tv_from_uniform`, the total-variation distance of the shares from 1/K each.

    Raises:
        TrainingError: the judge's classes are not as many as the data's.
    """
    probabilities = classify(needed_judge(evidence), Rows.of(evidence.samples))
    names = evidence.class_names or tuple(range(probabilities.shape[1]))
    if len(names) != probabilities.shape[1]:
        raise TrainingError(
            f"the judge's probabilities(x) must have a column for each of the data's {len(names)} classes, but got "
            f"{probabilities.shape[1]}; mend the judge, in the order {list(names)}"
        )
    found = shares(probabilities)
    each = {f"share/{name}": float(share) for name, share in zip(metric_names(names), found, strict=True)}
    return {**each, "tv_from_uniform": tv_from_uniform(found)}


def shares(probabilities: Reals) -> Reals:
    """The share [K] of the rows of `probabilities` [N, K] whose likeliest class is k (the first of equals)."""
    chosen = probabilities.argmax(axis=1)
    result: Reals = np.bincount(chosen, minlength=probabilities.shape[1]) / len(probabilities)
    return result


def tv_from_uniform(found: Reals) -> float:
    """1/2 sum_k |p_k - 1/K|: 0 for equal shares, 1 - 1/K for a single class."""
    return float(0.5 * np.abs(found - 1.0 / len(found)).sum())


def metric_names(names: tuple[int | str, ...]) -> list[str]:
    """The class names as metrics of MLflow can hold them; where two would be one, their positions tell them apart."""
    legal = [re.sub(r"[^A-Za-z0-9_.\- ]", "_", str(name)) for name in names]
    # A name that is only dots would be read as a folder above.
    legal = [name if name.strip(". ") else f"class_{position}" for position, name in enumerate(legal)]
    return [name if legal.count(name) == 1 else f"{name}_{position}" for position, name in enumerate(legal)]
