"""The objective and the constraints' expectations for given weights, from many draws, shared among workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dualsweep.trainer import metric_names
from dualsweep.trainer.dual.problem import ConstrainedProblem, Estimate, Vector
from dualsweep.trainer.engine.host import Host
from dualsweep.trainer.evaluation.confusion import JudgeError
from dualsweep.trainer.evaluation.drawn import DrawnValues, JointDraws, drawn_values
from dualsweep.trainer.evaluation.draws_file import received, sent
from dualsweep.trainer.evaluation.largest import is_apart, largest_interval
from dualsweep.trainer.sources.base import Source


def expectations(
    sources: Sequence[Source], coefficients: Vector, host: Host, draws: range, *, held_out: bool = False
) -> DrawnValues | None:  # fmt: skip
    """The values of final `draws` of each term, from all workers; on rank 0 only. `coefficients` as in `Source.measure`.

    The ranges of successive stages continue one another (`DrawnValues.joined`); what is drawn does not depend on the number of
    workers.
    """
    gathered = host.gather(sent([each for source in sources for each in source.measure(coefficients, held_out, draws)]))
    if gathered is None:
        return None
    parts: dict[tuple[int, ...], list[JointDraws]] = {}
    for each in (one for rank in gathered for one in received(rank)):
        parts.setdefault(each.columns, []).append(each)
    calibrations = [] if held_out else [each for source in sources for each in source.calibrations()]
    return drawn_values(len(coefficients), [_whole(each) for each in parts.values()], calibrations)


def _whole(shards: Sequence[JointDraws]) -> JointDraws:
    """One stage's draws from its shards, in rank order."""
    whole = shards[0]
    for each in shards[1:]:
        whole = whole.joined(each)
    return replace(whole, stages=(len(whole.values),))


def held_out_metrics(estimate: Estimate, problem: ConstrainedProblem) -> dict[str, float]:
    """`eval/objective`, `eval/value/NAME` and their errors on held-out data; a part without held-out data is left out."""
    objective, error = float(estimate.mean[0]), float(np.sqrt(estimate.variance[0]))
    own = metric_names.held_out(metric_names.OBJECTIVE)
    metrics = {own: objective, metric_names.beside(own, "_error"): error}
    for name, value, error in zip(problem.names, problem.values(estimate.mean), problem.value_errors(estimate), strict=True):
        metrics |= {
            metric_names.held_out(metric_names.value(name)): float(value),
            metric_names.held_out(metric_names.beside(metric_names.value(name), "_error")): float(error),
        }
    return {name: value for name, value in metrics.items() if np.isfinite(value)}


def lasting_error_metrics(problem: ConstrainedProblem, drawn: DrawnValues) -> dict[str, float]:
    """The parts of the errors that more draws would leave: `judge_error/NAME` of shares, `scale_error/NAME` of normalised
    rewards, and `samples_error/NAME` of values on a frozen model's samples."""
    names = ("objective", *problem.names)
    metrics = {
        (metric_names.judge_error if isinstance(each, JudgeError) else metric_names.scale_error)(names[column]): variance
        for each in drawn.calibrations
        for column, variance in zip(each.columns, drawn.variance_by(each), strict=True)
    }
    if not problem.simplex:
        metrics |= {
            metric_names.samples_error(names[column]): variance
            for draws in drawn.sets
            if draws.units is not None and len(draws.values)
            for column, variance in zip(draws.columns, draws.spread(np.eye(len(draws.columns))).lasting, strict=True)
            if variance > 0
        }
    return {name: float(np.sqrt(variance)) for name, variance in metrics.items()}


def objective_metrics(problem: ConstrainedProblem, estimate: Estimate) -> dict[str, float]:
    """`objective_error`, and of two or more constraints `value_low/max`, `value_high/max`, an interval for the largest value.

    On the simplex the objective is the largest value: it has that interval, as `objective_low` and `objective_high`, and an error
    only where no other value comes near it.
    """
    error = {"objective_error": float(np.sqrt(problem.objective_variance(estimate)))}
    if len(problem.names) < 2:
        return error
    values, covariance = problem.values(estimate.mean), problem.value_covariance(estimate)
    low, high = largest_interval(values, problem.value_errors(estimate))
    metrics = {"value_low/max": low, "value_high/max": high}
    if problem.simplex:
        metrics |= {"objective_low": low, "objective_high": high} | (error if is_apart(values, covariance) else {})
    else:
        metrics |= error
    return {name: value for name, value in metrics.items() if np.isfinite(value)}
