"""The end of a training: its averaged weights measured and sampled, what became of its constraints, and its result."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from torch import Tensor

from dualsweep.trainer import metric_names
from dualsweep.trainer.dual.settling import settled_multipliers
from dualsweep.trainer.engine.loop import Ending, Trained
from dualsweep.trainer.engine.multiplier_policy import Delivery, MultiplierPolicy
from dualsweep.trainer.engine.sampled import as_file, sampled
from dualsweep.trainer.engine.training_metrics import point, standings
from dualsweep.trainer.evaluation.draws_file import DRAWS, stored
from dualsweep.trainer.evaluation.evaluated import Evaluated
from dualsweep.trainer.evaluation.evidence import Evidence
from dualsweep.trainer.evaluation.final_values import Final, final_values
from dualsweep.trainer.evaluation.grid import sample_grid
from dualsweep.trainer.evaluation.images import Integers
from dualsweep.trainer.evaluation.metrics import measure
from dualsweep.trainer.evaluation.values import held_out_metrics, lasting_error_metrics, objective_metrics
from dualsweep.trainer.metric_point import Phase
from dualsweep.trainer.result import ConstraintOutcome, Result, feasibility, outcomes
from dualsweep.trainer.rng import in_turn

#: What is told of a phase: which, and how much of it is done.
Enter = Callable[[Phase, float], None]


@dataclass(frozen=True)
class FinalEvaluation:
    """The result of a training, the files beside it, and those of them that its last checkpoint is to hold as well."""

    result: Result
    files: dict[str, bytes]
    kept: dict[str, bytes]


@dataclass(frozen=True)
class _Measured:
    """What was measured of the averaged weights, and where; `asked` [N] is the class that each sample was asked for, if any."""

    final: Final
    delivery: Delivery
    samples: Tensor | None
    asked: Integers | None


def evaluate(run: Evaluated, policy: MultiplierPolicy, trained: Trained, enter: Enter) -> FinalEvaluation | None:
    """The final evaluation of a training that is over, by all workers; on rank 0 only. `enter` hears of its phases."""
    started = time.monotonic()
    measured = _measured(run, policy, trained, enter)
    if measured is None:
        return None
    drawn, delivery = measured.final.trained, measured.delivery
    constraints = outcomes(run.problem, drawn.estimate(), delivery.multipliers, delivery.errors, measured.final.decision)
    status, reason = _judged(run, policy, measured, constraints, trained)
    metrics, files = _told(run, measured, constraints)
    feasible = feasibility(status, constraints)
    metrics["feasible"] = float(feasible == "met")
    metrics[metric_names.SECONDS] = trained.seconds + time.monotonic() - started
    result = Result(
        status=status, reason=reason, objective=run.problem.objective(drawn.mean),
        objective_error=metrics.get("objective_error", math.nan),
        constraints=constraints, feasible=feasible, steps=trained.step,
        seconds=metrics[metric_names.SECONDS], checkpoint=run.host.checkpoints.path(trained.step), metrics=metrics,
    )  # fmt: skip
    kept = delivery.files(drawn)
    return FinalEvaluation(result, files | kept, kept)


def _measured(run: Evaluated, policy: MultiplierPolicy, trained: Trained, enter: Enter) -> _Measured | None:
    """Final values of the averaged weights and samples, by all workers; on rank 0 only."""
    enter("measuring", 0.0)
    weights = run.problem.mixture_weights(settled_multipliers(trained.state))
    with run.primal.averaged(weights) as model:
        delivery = policy.deliver(run, model, trained.state, trained.step)
        deciding = replace(run.deciding, relaxations=run.problem.relaxations(delivery.multipliers))
        final = final_values(run.sources, weights, run.host, deciding)
        samples = sampled(run, model, run.evaluation.samples, partial(enter, "sampling"))
        asked = in_turn(len(model.texts), range(run.evaluation.samples)) if model.by_label else None
    enter("judging", 0.0)
    return None if final is None else _Measured(final, delivery, samples, None if asked is None else asked.numpy())


def _judged(
    run: Evaluated, policy: MultiplierPolicy, measured: _Measured, constraints: dict[str, ConstraintOutcome], trained: Trained
) -> Ending:
    """The run's status and the reason of it."""
    if not run.problem.complete(measured.final.trained.mean):
        return "diverged", "the final objective or a constraint's value is not finite; lower train.lr"
    return policy.ending(trained.state, constraints) if trained.early is None else trained.early


def _told(
    run: Evaluated, measured: _Measured, constraints: dict[str, ConstraintOutcome]
) -> tuple[dict[str, float], dict[str, bytes]]:
    """The metrics of the end and the files beside `result.json`."""
    problem, trained = run.problem, measured.final.trained
    estimate = trained.estimate()
    metrics = point(problem, estimate.mean, problem.slack_errors(estimate), measured.delivery.multipliers)
    metrics |= held_out_metrics(measured.final.held_out.estimate(), problem)
    metrics |= {
        metric_names.multiplier_error(n): c.multiplier_error for n, c in constraints.items() if np.isfinite(c.multiplier_error)
    }
    metrics |= (
        standings(constraints) | _facts(run) | objective_metrics(problem, estimate) | lasting_error_metrics(problem, trained)
    )
    files = {DRAWS: stored(trained, run.seed, problem.names, problem.relative.tolist())}
    if measured.samples is not None and len(measured.samples):
        more, others = _measure(run, measured.samples, measured.asked)
        metrics, files = metrics | more, files | others
    return metrics, files


def _facts(run: Evaluated) -> dict[str, float]:
    """`scale/NAME/mean` and `scale/NAME/std` of rewards, as metrics."""
    names = ("objective", *run.problem.names)
    return {
        metric_names.scale(names[column], word): value
        for source in run.sources
        for column, facts in source.facts().items()
        for word, value in facts.items()
    }


def _measure(run: Evaluated, samples: Tensor, asked: Integers | None) -> tuple[dict[str, float], dict[str, bytes]]:
    """Metrics of the samples, which need data to compare with, and the files that keep them."""
    spec, data = run.evaluation, run.data
    files = {"samples.npy": as_file(samples)}
    if spec.grid and samples.ndim == 4:
        files["samples.png"] = sample_grid(samples[: spec.grid])
    if data is None or not spec.metrics:
        return {}, files  # and no judge is trained
    measured = measure(Evidence.of(samples, data, run.judge(), run.variants, asked), spec.metrics)
    if measured.notes:
        files["notes.txt"] = "\n".join(measured.notes).encode()
    return measured.values, files
