"""The end of a training: its averaged weights measured and sampled, what became of its constraints, and its result."""

from __future__ import annotations

import io
import json
import math
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from dualsweep.trainer import metric_names
from dualsweep.trainer.amortised.front import FILE, AmortisedFront
from dualsweep.trainer.amortised.measure import ending, measured, point_of
from dualsweep.trainer.amortised.spread import MultiplierRange
from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.dual.settling import settled_errors, settled_multipliers
from dualsweep.trainer.engine.assembly import Prepared
from dualsweep.trainer.engine.dual_side import multiplier_range_of
from dualsweep.trainer.engine.loop import Ending, Trained
from dualsweep.trainer.engine.training_metrics import point, standings
from dualsweep.trainer.evaluation.draws_file import DRAWS, stored
from dualsweep.trainer.evaluation.evaluated import Evaluated
from dualsweep.trainer.evaluation.evidence import Evidence
from dualsweep.trainer.evaluation.final_values import Final, final_values
from dualsweep.trainer.evaluation.grid import sample_grid
from dualsweep.trainer.evaluation.images import Rows
from dualsweep.trainer.evaluation.metrics import measure
from dualsweep.trainer.evaluation.values import held_out_metrics, objective_metrics
from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.models.spaces import decode_in_parts
from dualsweep.trainer.result import ConstraintOutcome, Result, feasibility, outcomes, verdict
from dualsweep.trainer.rng import shard
from dualsweep.trainer.samplers.sampling import sample


@dataclass(frozen=True)
class _Measured:
    """What was measured of the averaged weights, and the multipliers of it; `spread` and `front` of an amortised model."""

    final: Final
    multipliers: Vector
    samples: Tensor | None
    spread: MultiplierRange | None
    front: AmortisedFront | None


def evaluate(run: Prepared, trained: Trained) -> tuple[Result | None, dict[str, bytes]]:
    """The result of a training that is over, with the files that go with it; None on all ranks but 0."""
    started = time.monotonic()
    found = _measured(run, trained)
    if found is None:
        return None, {}
    errors = settled_errors(trained.state, run.recipe.dual.rule)
    constraints = outcomes(run.problem, found.final.trained.estimate(), found.multipliers, errors, found.final.decision)
    status, reason = _judged(run, found, constraints, trained)
    metrics, files = _told(run, found, constraints, trained.step)
    feasible = feasibility(status, constraints)
    metrics["feasible"] = float(feasible == "met")
    metrics[metric_names.SECONDS] = trained.seconds + time.monotonic() - started
    result = Result(
        status=status, reason=reason, objective=run.problem.objective(found.final.trained.mean),
        objective_error=metrics.get("objective_error", math.nan),
        constraints=constraints, feasible=feasible, steps=trained.step,
        seconds=metrics[metric_names.SECONDS], checkpoint=run.host.checkpoints.path(trained.step), metrics=metrics,
    )  # fmt: skip
    return result, files


def _measured(run: Prepared, trained: Trained) -> _Measured | None:
    """Final values of the averaged weights and samples, by all workers; on rank 0 only."""
    multipliers, spread, front = settled_multipliers(trained.state), multiplier_range_of(run.recipe), None
    weights = run.problem.mixture_weights(multipliers)
    with run.primal.averaged(weights) as model:
        if spread is not None:
            assert run.recipe.amortised is not None
            front, multipliers = measured(run, model, spread, run.recipe.amortised.points, trained.step)
            model.at(multipliers)
        deciding = replace(run.deciding, relaxations=run.problem.relaxations(multipliers))
        final = final_values(run.sources, weights, run.host, deciding)
        samples = _samples(run, model)
    return None if final is None else _Measured(final, multipliers, samples, spread, front)


def _judged(run: Evaluated, found: _Measured, constraints: dict[str, ConstraintOutcome], trained: Trained) -> Ending:
    """The run's status and the reason of it."""
    if not run.problem.complete(found.final.trained.mean):
        return "diverged", "the final objective or a constraint's value is not finite; lower train.lr"
    if trained.early is not None:
        return trained.early
    if found.spread is None:
        return verdict(trained.state, constraints)
    return ending(found.spread, trained.state, constraints)


def _told(
    run: Evaluated, found: _Measured, constraints: dict[str, ConstraintOutcome], step: int
) -> tuple[dict[str, float], dict[str, bytes]]:
    """The metrics of the end and the files beside `result.json`."""
    problem, trained = run.problem, found.final.trained
    estimate = trained.estimate()
    metrics = point(problem, estimate.mean, problem.slack_errors(estimate), found.multipliers)
    metrics |= held_out_metrics(found.final.held_out.estimate(), problem)
    metrics |= {
        metric_names.multiplier_error(n): c.multiplier_error for n, c in constraints.items() if np.isfinite(c.multiplier_error)
    }
    metrics |= standings(constraints) | _facts(run) | objective_metrics(problem, estimate)
    files = {DRAWS: stored(trained, run.seed, problem.names, problem.relative.tolist())}
    if found.samples is not None and len(found.samples):
        more, others = _measure(run, found.samples)
        metrics, files = metrics | more, files | others
    if found.spread is not None and found.front is not None:
        last = point_of(found.spread, trained, found.multipliers)
        whole = AmortisedFront.of(found.spread, [*found.front.points, last], step)
        files[FILE] = json.dumps(whole.to_json(), indent=2).encode()
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


def _samples(run: Evaluated, model: Predictor) -> Tensor | None:
    """All samples on rank 0, in the order of their positions; each worker makes its share."""
    spec, host = run.evaluation, run.host
    mine = shard(spec.samples, host.rank, host.world)
    own = sample(
        model, run.schedule, mine, run.shape, sampling=run.sampling, seed=run.seed, batch_size=spec.batch_size
    )  # fmt: skip
    gathered = host.gather(own)
    return decode_in_parts(run.space, torch.cat(gathered), spec.batch_size) if gathered is not None else None


def _measure(run: Evaluated, samples: Tensor) -> tuple[dict[str, float], dict[str, bytes]]:
    """Metrics of the samples, which need data to compare with, and the files that keep them."""
    spec, data = run.evaluation, run.data
    stored = io.BytesIO()
    np.save(stored, samples.numpy())
    files = {"samples.npy": stored.getvalue()}
    if spec.grid and samples.ndim == 4:
        files["samples.png"] = sample_grid(samples[: spec.grid])
    if data is None:
        return {}, files
    everything = data.split.examples
    trained = np.unique(np.concatenate(data.rows))
    held_out = Rows(everything, data.split.held_out) if len(data.split.held_out) else None
    evidence = Evidence(
        samples,
        Rows(data.examples, trained),
        Rows(everything, np.arange(len(everything))),
        held_out,
        run.judge(),
        everything.class_names,
    )
    measured = measure(evidence, spec.metrics)
    if measured.notes:
        files["notes.txt"] = "\n".join(measured.notes).encode()
    return measured.values, files
