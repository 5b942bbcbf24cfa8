"""The end of an amortised training: the network measured over the range of multipliers, and placed at the recipe's budgets."""

from __future__ import annotations

import posixpath

import numpy as np
import torch

from dualsweep.trainer.amortised.front import AmortisedFront, FrontPoint
from dualsweep.trainer.amortised.spread import MultiplierRange
from dualsweep.trainer.checkpoint import CheckpointFolder, locate, read
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.dual.state import DualState
from dualsweep.trainer.engine.assembly import prepare
from dualsweep.trainer.engine.dual_side import controller_of, multiplier_range_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.evaluation.drawn import DrawnValues
from dualsweep.trainer.evaluation.evaluated import Evaluated
from dualsweep.trainer.evaluation.values import expectations
from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.models.provenance import recipe_of
from dualsweep.trainer.result import ConstraintOutcome, Status, verdict

#: Points measured where the budgets lead, before the last one.
_REFINED = 1


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


def measured_at(run: str, multipliers: Vector) -> list[FrontPoint]:
    """The points of an ended amortised run at other multipliers [n, m], in this process, by the draws of its own.

    Raises:
        TrainingError: `run`, an output or checkpoint, holds none.
    """
    checkpoint = locate(run)
    recipe = recipe_of(checkpoint) if checkpoint is not None else None
    spread = multiplier_range_of(recipe) if recipe is not None else None
    if checkpoint is None or recipe is None or spread is None:
        raise TrainingError(f"a run must be amortised to be measured at multipliers, but got {run}; give its output folder")
    host = LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(posixpath.dirname(checkpoint)))
    prepared, snapshot = prepare(recipe, host), read(checkpoint)
    prepared.primal.restore(snapshot.groups, snapshot.state["primal"])
    with prepared.primal.averaged(spread.problem.mixture_weights(np.zeros(spread.size))) as model:
        return measured_points(prepared, model, spread, multipliers)


def measured_points(run: Evaluated, model: Predictor, spread: MultiplierRange, multipliers: Vector) -> list[FrontPoint]:
    """The points at multipliers [n, m]; on rank 0 alone."""
    points = []
    for each in multipliers:
        model.at(each)
        draws = range(run.evaluation.loss_draws)
        drawn = expectations(run.sources, spread.problem.mixture_weights(each), run.host, draws)
        points += [point_of(spread, drawn, each)] if drawn is not None else []
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
    found, problem = np.zeros(spread.size), spread.problem
    if front.points and all(np.isfinite(list(each.metrics.values())).all() for each in front.points):
        found = front.dual_function().multipliers_for(problem.signs * problem.budgets, problem.softness)
    told: Vector = run.host.total(torch.from_numpy(found).to(run.host.device)).cpu().numpy()
    return told


def ending(spread: MultiplierRange, state: DualState, constraints: dict[str, ConstraintOutcome]) -> tuple[Status, str]:
    """How an amortised run ended at its own budgets: infeasible where the range of multipliers does not reach them."""
    beyond = [
        f"`{name}` is at {each.value:.4g}, off its budget {each.budget:.4g}, with the largest multiplier of the range, {high:g}"
        for (name, each), high in zip(constraints.items(), spread.high, strict=True)
        if each.standing == "violated" and each.multiplier >= 0.99 * high
    ]
    if beyond:
        return "infeasible", "; ".join(beyond) + ": loosen that budget, or raise amortised.multipliers.high"
    status, reason = verdict(state, constraints)
    if status == "converged":
        reason = "every constraint is met, and the objective over the range of multipliers has settled"
    return status, reason
