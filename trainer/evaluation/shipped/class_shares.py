"""How often each class is sampled, as the judge sees it, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dualsweep.trainer import metric_names
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.evaluation.evidence import Evidence, needed_judge
from dualsweep.trainer.evaluation.images import Integers, Rows
from dualsweep.trainer.evaluation.judge_protocol import classify
from dualsweep.trainer.evaluation.shares import share_errors, share_intervals, tallies, tv_from_uniform, tv_interval


def class_shares(evidence: Evidence) -> dict[str, float]:
    """`share/CLASS` of every class with `share_low/CLASS`, `share_high/CLASS` and, unless it is too rare or too frequent,
    `share_error/CLASS`; and `tv_from_uniform`, the shares' total-variation distance from 1/K each, with `_low` and `_high`.

    Where samples were asked for by class, also `accuracy`, the share of them that the judge takes for that class, the mean over
    classes, with `accuracy_error`; and `accuracy/CLASS` of each. A judge that errs lowers them.

    Raises:
        TrainingError: the judge's classes are not as many as the data's.
    """
    probabilities = classify(needed_judge(evidence), Rows.of(evidence.samples))
    names = evidence.class_names or tuple(range(probabilities.shape[1]))
    if len(names) != probabilities.shape[1]:
        raise TrainingError(
            f"the judge's probabilities(x) must have a column for each of the data's {len(names)} classes, but got "
            f"{probabilities.shape[1]}; fix the judge, in the order {list(names)}"
        )
    counts, called = tallies(probabilities), metric_names.of_classes(names)
    errors, (low, high) = share_errors(counts), share_intervals(counts)
    class_metrics = {
        f"{word}/{name}": float(statistic)
        for word, column in (
            ("share", counts / counts.sum()), ("share_error", errors), ("share_low", low), ("share_high", high)
        )
        for name, statistic in zip(called, column, strict=True)
        if not np.isnan(statistic)
    }  # fmt: skip
    least, most = tv_interval(counts)
    distance = tv_from_uniform(counts / counts.sum())
    asked = {} if evidence.asked is None else _accuracies(probabilities, evidence.asked, called)
    return {**class_metrics, **asked, "tv_from_uniform": distance, "tv_from_uniform_low": least, "tv_from_uniform_high": most}


def _accuracies(probabilities: NDArray[np.float64], asked: Integers, called: Sequence[str]) -> dict[str, float]:
    right = probabilities.argmax(axis=1) == asked
    places = {name: np.flatnonzero(asked == number) for number, name in enumerate(called)}
    by_class = {name: float(right[own].mean()) for name, own in places.items() if len(own)}
    # The add-two rule (Agresti & Coull 1998): none of few samples being wrong does not make the error 0.
    drawn = {name: (by_class[name] * len(own) + 2) / (len(own) + 4) for name, own in places.items() if len(own)}
    variance = sum(share * (1 - share) / len(places[name]) for name, share in drawn.items())
    error = float(variance**0.5) / len(by_class)
    return {"accuracy": sum(by_class.values()) / len(by_class), "accuracy_error": error} | {
        f"accuracy/{name}": share for name, share in by_class.items()
    }
