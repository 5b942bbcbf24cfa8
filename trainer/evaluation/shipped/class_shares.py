"""How often each class is sampled, as the judge sees it, and how sure that is."""

from __future__ import annotations

import numpy as np

from dualsweep.trainer import metric_names
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.evaluation.evidence import Evidence, needed_judge
from dualsweep.trainer.evaluation.images import Rows
from dualsweep.trainer.evaluation.judge_protocol import classify
from dualsweep.trainer.evaluation.shares import share_errors, share_intervals, tallies, tv_from_uniform, tv_interval


def class_shares(evidence: Evidence) -> dict[str, float]:
    """`share/CLASS` of every class with `share_low/CLASS`, `share_high/CLASS` and, unless it is too rare or too frequent,
    `share_error/CLASS`; and `tv_from_uniform`, the shares' total-variation distance from 1/K each, with `_low` and `_high`.

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
    return {**class_metrics, "tv_from_uniform": distance, "tv_from_uniform_low": least, "tv_from_uniform_high": most}
