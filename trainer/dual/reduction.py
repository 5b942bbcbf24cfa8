"""The reports of all workers at one dual step, reduced to the estimate of the global batch; and a dual step that is no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dualsweep.trainer.dual.problem import ConstrainedProblem, Estimate, Vector
from dualsweep.trainer.dual.state import DualState, SlackReport

#: Joint samples below which a covariance is no estimate of curvature.
LEAST_JOINT = 8


@dataclass(frozen=True)
class Reduction:
    """A dual step that moves no multiplier, of a training whose samples have their own: they stay where the run began.

    `total` is the number of dual steps of the whole run.
    """

    problem: ConstrainedProblem
    total: int

    def first(self) -> DualState:
        none = np.zeros(len(self.problem.names))
        return DualState.beginning(self.problem, none, none)

    def advance(self, state: DualState, reports: Sequence[SlackReport], world: int) -> DualState:
        """One dual step on the reports of all `world` workers; nothing is told where a report or every value is missing.

        A slack that no sample told adds nothing to the tails' sums: no multiplier goes by it, and the objective is known.

        Raises:
            ValueError: a report of another step, or two of one rank.
        """
        estimate = whole_estimate(state, reports, world)
        if estimate is None or not np.isfinite(estimate.mean).any():
            return state.skipping()
        slacks, objective = self.problem.slacks(estimate.mean), self.problem.objective(estimate.mean)
        known = np.isfinite(slacks)
        return replace(
            state.with_multipliers(state.multipliers).measuring(self.problem, estimate),
            average=np.where(known, slacks, state.average),
            tails=state.tails_with(self.total, objective, np.where(known, slacks, 0.0), state.multipliers),
        )

    def infeasible(self, state: DualState) -> str | None:
        """None: no multiplier is ever at a limit."""
        return None


def usable_estimate(
    problem: ConstrainedProblem, state: DualState, reports: Sequence[SlackReport], world: int
) -> Estimate | None:  # fmt: skip
    """The estimate of the reports of all `world` workers; None without one of them, or without any finite slack.

    Raises:
        ValueError: a report of another dual step than the state's next, or two of one rank.
    """
    estimate = whole_estimate(state, reports, world)
    usable = np.isfinite(problem.slacks(estimate.mean)) if estimate is not None else np.zeros(0)
    return None if len(usable) and not usable.any() else estimate


def whole_estimate(state: DualState, reports: Sequence[SlackReport], world: int) -> Estimate | None:
    """The estimate of the reports of all `world` workers; None without one: a partial sum is none of the global batch's slack.

    Raises:
        ValueError: a report of another dual step than the state's next, or two of one rank.
    """
    check(reports, state.version)
    return None if len(reports) < world else reduce(reports)


def reduce(reports: Sequence[SlackReport]) -> Estimate:
    """Means and their variances over all workers from (count, sum, sum of squares), in rank order so that every bit repeats.

    An expectation of which no worker saw a sample, or one saw a non-finite loss, comes out as NaN. A covariance comes out
    where every worker sent products, of pairs with equal counts of at least `LEAST_JOINT` samples. Where every worker sent
    differences of neighbours, of draws that are one of each stratum, the variance is that of stratified means: half their mean
    square takes the place of the samples' variance (collapsed strata; Wolter, *Introduction to Variance Estimation*, 2007, 8.2).
    """
    ordered = sorted(reports, key=lambda report: report.rank)
    with np.errstate(all="ignore"):
        count = np.sum([report.count for report in ordered], axis=0)
        mean = np.sum([report.total for report in ordered], axis=0) / count
        second = np.sum([report.squares for report in ordered], axis=0) / count
        variance = np.maximum(second - mean**2, 0.0) / (count - 1)
    finite = np.isfinite(mean) & np.isfinite(second) & (count > 0)
    variance = _stratified(ordered, count, variance)
    mean, variance = np.where(finite, mean, np.nan), np.where(finite & (count > 1), variance, np.nan)
    return Estimate(mean, variance, _covariance(ordered, count, mean))


def _stratified(ordered: Sequence[SlackReport], count: Vector, variance: Vector) -> Vector:
    """The variances [1 + m] of means, from differences of neighbours where there are any."""
    sent = [report.neighbours for report in ordered if report.neighbours is not None]
    if not ordered or len(sent) < len(ordered):
        return variance
    differences, squares = np.sum(sent, axis=0) + _between_workers(ordered, len(count))
    with np.errstate(all="ignore"):
        result: Vector = np.where(differences > 0, 0.5 * squares / differences / count, variance)
    return result


def _between_workers(ordered: Sequence[SlackReport], columns: int) -> Vector:
    """The numbers and sums of squared differences of neighbours [2, 1 + m] in the batches that workers share.

    In the order that one worker would have them, so that an error does not depend on how many there are.
    """
    draws = [report.draws for report in ordered if report.draws is not None]
    if not draws:
        return np.zeros((2, columns))
    step, position, column, value = np.concatenate(draws, axis=1)
    order = np.lexsort((position, step, column))
    step, column, value = step[order], column[order].astype(np.int64), value[order]
    paired = (step[1:] == step[:-1]) & (column[1:] == column[:-1])
    of, squares = column[1:][paired], np.diff(value)[paired] ** 2
    return np.stack([np.bincount(of, minlength=columns), np.bincount(of, weights=squares, minlength=columns)])


def _covariance(ordered: Sequence[SlackReport], count: Vector, mean: Vector) -> Vector | None:
    """The unbiased covariance of the samples [1 + m, 1 + m], NaN for pairs that were not measured jointly."""
    products = [report.products for report in ordered if report.products is not None]
    if not ordered or len(products) < len(ordered):
        return None
    joint = (count[:, None] == count[None, :]) & (count[:, None] >= LEAST_JOINT)
    with np.errstate(all="ignore"):
        centred = (np.sum(products, axis=0) - np.outer(mean, mean) * count[:, None]) / (count[:, None] - 1.0)
    result: Vector = np.where(joint & np.isfinite(centred), centred, np.nan)
    return result


def check(reports: Sequence[SlackReport], version: int) -> None:
    """Refuses reports that are not of one dual step.

    Raises:
        ValueError: a report of another step than `version`, or two of one rank.
    """
    ranks = [report.rank for report in reports]
    if len(set(ranks)) != len(ranks):
        raise ValueError(f"a dual step must have one report of each rank, but got ranks {ranks}; was a call retried?")
    for report in reports:
        if report.step != version:
            raise ValueError(
                f"a report must be of dual step {version}, but got {report.step} from rank {report.rank}; restore first"
            )
