"""Amortised training: each sample of a step has its own multipliers, and the network is measured over their range at the end."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dualsweep.trainer import metric_names
from dualsweep.trainer.amortised.front import FILE, AmortisedFront, FrontPoint, front_of
from dualsweep.trainer.amortised.spread import MultiplierRange
from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.dual.reduction import Reduction
from dualsweep.trainer.dual.state import DualState
from dualsweep.trainer.engine.host import Host
from dualsweep.trainer.engine.multiplier_policy import Delivery
from dualsweep.trainer.evaluation.drawn import DrawnValues
from dualsweep.trainer.evaluation.values import expectations
from dualsweep.trainer.result import ConstraintOutcome, Status, verdict
from dualsweep.trainer.rng import shard
from dualsweep.trainer.sources.mixture_batch import GlobalBatch, Integers, Mixture, draw_amortised
from dualsweep.trainer.sources.step_multipliers import Coefficients
from dualsweep.trainer.transfer import sent

if TYPE_CHECKING:
    from dualsweep.trainer.evaluation.evaluated import Evaluated
    from dualsweep.trainer.models.predictor import Predictor

#: Points measured where the budgets lead, before the last one.
_REFINED = 1


@dataclass(frozen=True)
class AmortisedMultipliers:
    """A range of multipliers that one network is trained over, and measured at `points` of; none of them moves."""

    spread: MultiplierRange
    controller: Reduction
    points: int

    def batch(self, step: int, coefficients: Vector, mixture: Mixture, first: Integers) -> GlobalBatch:
        return draw_amortised(self.spread, mixture, first, step)

    def trajectories(
        self, step: int, coefficients: Vector, columns: Sequence[int], size: int, host: Host
    ) -> tuple[Coefficients, Mapping[str, Tensor]]:  # fmt: skip
        mine = shard(size, host.rank, host.world)
        multipliers = self.spread.draw(step, size)[0][mine.start : mine.stop]
        own = sent(self.spread.problem.mixture_weights(multipliers).astype(np.float32), host.device)
        asked = sent(multipliers.astype(np.float32), host.device)
        return {column: own[:, column] for column in columns}, {"multipliers": asked}

    def conditions(self, predictor: Predictor) -> bool:
        predictor.condition_on(self.spread.low, self.spread.high, self.spread.seed)
        return True

    def shown(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Means over many multipliers say nothing of single problems: only those of what is measured are left."""
        return {
            name: value
            for name, value in metrics.items()
            if name == metric_names.OBJECTIVE or name.startswith(metric_names.VALUE)
        }

    def deliver(self, run: Evaluated, model: Predictor, state: DualState, steps: int) -> Delivery:
        """At the multipliers of the recipe's own budgets, as the front that is measured first tells them."""
        front, multipliers = measured(run, model, self.spread, self.points, steps)
        model.at(multipliers)

        def files(drawn: DrawnValues) -> dict[str, bytes]:
            # Of more draws it would stand apart from points nearby by the error of the draws, which they have in common.
            first = replace(drawn, sets=tuple(draws.first(draws.stages[:1]) for draws in drawn.sets))
            last = point_of(self.spread, first, multipliers)
            whole = AmortisedFront.of(self.spread, [*front.points, last], steps)
            return {FILE: json.dumps(whole.to_json(), indent=2).encode()}

        # The optimum on a fitted front: how far off it is was not measured.
        return Delivery(multipliers, np.full(self.spread.size, np.nan), files)

    def ending(self, state: DualState, constraints: Mapping[str, ConstraintOutcome]) -> tuple[Status, str]:
        """How it ended at its own budgets: infeasible where the range of multipliers does not reach them."""
        ends = np.array([each.multiplier for each in constraints.values()])
        violated = np.array([each.standing == "violated" for each in constraints.values()])
        beyond, largest = np.flatnonzero(violated & self.spread.at_end(ends)), self.spread.largest(ends)
        if len(beyond):
            told = [(name, each.value, each.budget) for name, each in constraints.items()]
            reasons = ["`{}` is at {:.4g}, off its budget {:.4g}, with {}".format(*told[i], largest[i]) for i in beyond]
            by_range = not self.spread.held_by_sum(ends)[beyond].all()
            remedy = ", or raise `high` of its range (amortised.multipliers, by_constraint)" if by_range else ""
            return "infeasible", "; ".join(reasons) + ": loosen that budget" + remedy
        status, reason = verdict(state, constraints)
        if status == "converged":
            reason = "every constraint is met, and the objective in training has settled"
        return status, reason

    def sampled_at(self, checkpoint: str) -> Mapping[str, float] | None:
        return front_of(checkpoint).last


def measured(
    run: Evaluated, model: Predictor, spread: MultiplierRange, count: int, steps: int
) -> tuple[AmortisedFront, Vector]:  # fmt: skip
    """The front after `steps` steps, of `count` points and some more, and the multipliers [m] of the recipe's budgets.

    By the same estimator as any run's final values, on the same draws at all points, which are on rank 0 alone.
    """
    front = AmortisedFront.of(spread, measured_points(run, model, spread, spread.measured(count)), steps)
    for _ in range(_REFINED):
        more = measured_points(run, model, spread, _placed(run, front, spread)[None])
        front = AmortisedFront.of(spread, [*front.points, *more], steps)
    return front, _placed(run, front, spread)


def measured_points(run: Evaluated, model: Predictor, spread: MultiplierRange, multipliers: Vector) -> list[FrontPoint]:
    """The points at multipliers [n, m]; on rank 0 alone."""
    points = []
    for row in multipliers:
        model.at(row)
        draws = range(run.evaluation.loss_draws)
        drawn = expectations(run.sources, spread.problem.mixture_weights(row), run.host, draws)
        points += [point_of(spread, drawn, row)] if drawn is not None else []
    return points


def point_of(spread: MultiplierRange, drawn: DrawnValues, multipliers: Vector) -> FrontPoint:
    """The point of what was drawn at `multipliers` [m]."""
    problem, estimate = spread.problem, drawn.estimate()

    def named(values: Vector) -> dict[str, float]:
        return dict(zip(problem.names, values.tolist(), strict=True))

    return FrontPoint(
        named(multipliers), problem.objective(estimate.mean), float(np.sqrt(problem.objective_variance(estimate))),
        named(problem.values(estimate.mean)), named(problem.slack_errors(estimate)),
    )  # fmt: skip


def _placed(run: Evaluated, front: AmortisedFront, spread: MultiplierRange) -> Vector:
    """lambda(b) at the recipe's budgets, as rank 0 finds it, on every rank; without finite values none."""
    multipliers, problem = np.zeros(spread.size), spread.problem
    if front.points and all(np.isfinite(list(each.metrics.values())).all() for each in front.points):
        multipliers = front.dual_function().multipliers_for(problem.signs * problem.budgets, problem.softness)
    told: Vector = run.host.total(torch.from_numpy(multipliers).to(run.host.device)).cpu().numpy()
    return told
