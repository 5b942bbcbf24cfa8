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
from dualsweep.trainer.engine.loop import Loop
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.evaluation.drawn import DrawnValues
from dualsweep.trainer.evaluation.values import expectations
from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.models.provenance import recipe_of
from dualsweep.trainer.result import ConstraintOutcome, Status, verdict

#: Points measured where the budgets lead, before the last one.
_REFINED = 1


def measured(loop: Loop, model: Predictor, spread: MultiplierRange) -> tuple[AmortisedFront, Vector]:
    """The front, on rank 0 (elsewhere without points), and the multipliers [m] of the recipe's budgets, on every rank.

    By the same estimator as any run's final values, on the same draws at all points.
    """
    points = [_point(loop, model, spread, each) for each in spread.measured(_count(loop))]
    front = AmortisedFront.of(spread, [each for each in points if each is not None], loop.step)
    for _ in range(_REFINED):
        multipliers = _placed(loop, front, spread)
        extra = _point(loop, model, spread, multipliers)
        if extra is not None:
            front = AmortisedFront.of(spread, [*front.points, extra], loop.step)
    return front, _placed(loop, front, spread)


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
    loop = Loop(prepare(recipe, host), host, lambda _: {})
    snapshot = read(checkpoint)
    loop.primal.restore(snapshot.groups, snapshot.state["primal"])
    with loop.primal.averaged(loop.settled) as model:
        found = [_point(loop, model, spread, each) for each in multipliers]
    return [each for each in found if each is not None]


def _count(loop: Loop) -> int:
    assert loop.recipe.amortised is not None
    return loop.recipe.amortised.points


def _point(loop: Loop, model: Predictor, spread: MultiplierRange, multipliers: Vector) -> FrontPoint | None:
    model.at(multipliers)
    draws = range(loop.recipe.evaluation.loss_draws)
    drawn = expectations(loop.sources, spread.problem.mixture_weights(multipliers), loop.host, draws)
    return point_of(spread, drawn, multipliers) if drawn is not None else None


def point_of(spread: MultiplierRange, drawn: DrawnValues, multipliers: Vector) -> FrontPoint:
    """The point of what was drawn at `multipliers` [m]."""
    problem, estimate = spread.problem, drawn.estimate()

    def named(values: Vector) -> dict[str, float]:
        return dict(zip(problem.names, values.tolist(), strict=True))

    return FrontPoint(
        named(multipliers), problem.objective(estimate.mean), float(np.sqrt(problem.objective_variance(estimate))),
        named(problem.values(estimate.mean)), named(problem.slack_errors(estimate)),
    )  # fmt: skip


def _placed(loop: Loop, front: AmortisedFront, spread: MultiplierRange) -> Vector:
    """lambda(b) at the recipe's budgets, as rank 0 finds it; without finite values none."""
    found = np.zeros(spread.size)
    if front.points and all(np.isfinite(list(each.metrics.values())).all() for each in front.points):
        problem = spread.problem
        found = front.dual_function().multipliers_for(problem.signs * problem.budgets, problem.softness)
    told: Vector = loop.host.total(torch.from_numpy(found).to(loop.host.device)).cpu().numpy()
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
