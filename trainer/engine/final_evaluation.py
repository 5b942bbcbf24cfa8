"""The end of a training: its averaged weights measured and sampled, what became of its constraints, and its result."""

from __future__ import annotations

import io
import json
import math
import time
from dataclasses import dataclass

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
from dualsweep.trainer.engine.loop import Loop
from dualsweep.trainer.engine.training_metrics import point, standings
from dualsweep.trainer.evaluation.draws_file import DRAWS, stored
from dualsweep.trainer.evaluation.evidence import Evidence
from dualsweep.trainer.evaluation.final_values import Final, final_values
from dualsweep.trainer.evaluation.grid import sample_grid
from dualsweep.trainer.evaluation.images import Rows
from dualsweep.trainer.evaluation.metrics import measure
from dualsweep.trainer.evaluation.values import held_out_metrics, objective_metrics
from dualsweep.trainer.feasibility.deciding import Deciding
from dualsweep.trainer.models.spaces import decode_in_parts
from dualsweep.trainer.result import ConstraintOutcome, Result, Status, feasibility, outcomes, verdict
from dualsweep.trainer.rng import shard
from dualsweep.trainer.samplers.sampling import sample

#: The status that a run ended with, and the reason.
Ending = tuple[Status, str]


@dataclass(frozen=True)
class _Measured:
    """What was measured of the averaged weights, and the multipliers of it; `spread` and `front` of an amortised model."""

    final: Final
    multipliers: Vector
    samples: Tensor | None
    spread: MultiplierRange | None
    front: AmortisedFront | None


def evaluate(loop: Loop, prepared: Prepared, end: Ending | None) -> tuple[Result | None, dict[str, bytes]]:
    """The result of a loop that has ended, with the files that go with it; None on all ranks but 0."""
    started = time.monotonic()
    found = _measured(loop, prepared)
    if found is None:
        return None, {}
    errors = settled_errors(loop.state, loop.recipe.dual.rule)
    constraints = outcomes(loop.problem, found.final.trained.estimate(), found.multipliers, errors, found.final.decision)
    status, reason = _judged(loop, found, constraints, end)
    metrics, files = _told(loop, prepared, found, constraints)
    feasible = feasibility(status, constraints)
    metrics["feasible"] = float(feasible == "met")
    metrics[metric_names.SECONDS] = loop.seconds + time.monotonic() - started
    result = Result(
        status=status, reason=reason, objective=loop.problem.objective(found.final.trained.mean),
        objective_error=metrics.get("objective_error", math.nan),
        constraints=constraints, feasible=feasible, steps=loop.step,
        seconds=metrics[metric_names.SECONDS], checkpoint=loop.host.checkpoints.path(loop.step), metrics=metrics,
    )  # fmt: skip
    return result, files


def _measured(loop: Loop, prepared: Prepared) -> _Measured | None:
    """Final values of the averaged weights and samples, by all workers; on rank 0 only."""
    multipliers, spread, front = settled_multipliers(loop.state), multiplier_range_of(loop.recipe), None
    weights = loop.settled
    with loop.primal.averaged(weights) as model:
        if spread is not None:
            front, multipliers = measured(loop, model.at(multipliers), spread)
            model.at(multipliers)
        deciding = Deciding.of(loop.recipe, loop.problem, loop.problem.relaxations(multipliers))
        final = final_values(loop.sources, weights, loop.host, deciding)
        samples = _samples(loop, model, prepared)
    return None if final is None else _Measured(final, multipliers, samples, spread, front)


def _judged(loop: Loop, found: _Measured, constraints: dict[str, ConstraintOutcome], end: Ending | None) -> Ending:
    """The run's status and the reason of it; `end` where the loop itself broke off."""
    if not loop.problem.complete(found.final.trained.mean):
        return "diverged", "the final objective or a constraint's value is not finite; lower train.lr"
    if end is not None:
        return end
    return verdict(loop.state, constraints) if found.spread is None else ending(found.spread, loop.state, constraints)


def _told(
    loop: Loop, prepared: Prepared, found: _Measured, constraints: dict[str, ConstraintOutcome]
) -> tuple[dict[str, float], dict[str, bytes]]:
    """The metrics of the end and the files beside `result.json`."""
    problem, trained = loop.problem, found.final.trained
    estimate = trained.estimate()
    metrics = point(problem, estimate.mean, problem.slack_errors(estimate), found.multipliers)
    metrics |= held_out_metrics(found.final.held_out.estimate(), problem)
    metrics |= {
        metric_names.multiplier_error(n): c.multiplier_error for n, c in constraints.items() if np.isfinite(c.multiplier_error)
    }
    metrics |= standings(constraints) | _facts(loop) | objective_metrics(problem, estimate)
    files = {DRAWS: stored(trained, loop.recipe.seed, problem.names, problem.relative.tolist())}
    if found.samples is not None and len(found.samples):
        more, others = _measure(prepared, found.samples)
        metrics, files = metrics | more, files | others
    if found.spread is not None and found.front is not None:
        last = point_of(found.spread, trained, found.multipliers)
        whole = AmortisedFront.of(found.spread, [*found.front.points, last], loop.step)
        files[FILE] = json.dumps(whole.to_json(), indent=2).encode()
    return metrics, files


def _facts(loop: Loop) -> dict[str, float]:
    """`scale/NAME/mean` and `scale/NAME/std` of rewards, as metrics."""
    names = ("objective", *loop.problem.names)
    return {
        metric_names.scale(names[column], word): value
        for source in loop.sources
        for column, facts in source.facts().items()
        for word, value in facts.items()
    }


def _samples(loop: Loop, model: torch.nn.Module, prepared: Prepared) -> Tensor | None:
    """All samples on rank 0, in the order of their positions; each worker makes its share."""
    spec, host = loop.recipe.evaluation, loop.host
    mine = shard(spec.samples, host.rank, host.world)
    own = sample(
        model,
        prepared.schedule,
        mine,
        prepared.shape,
        sampling=loop.recipe.sampling,
        seed=loop.recipe.seed,
        batch_size=spec.batch_size,
    )
    gathered = host.gather(own)
    return decode_in_parts(prepared.space, torch.cat(gathered), spec.batch_size) if gathered is not None else None


def _measure(prepared: Prepared, samples: Tensor) -> tuple[dict[str, float], dict[str, bytes]]:
    """Metrics of the samples, which need data to compare with, and the files that keep them."""
    recipe, data = prepared.recipe, prepared.data
    stored = io.BytesIO()
    np.save(stored, samples.numpy())
    files = {"samples.npy": stored.getvalue()}
    if recipe.evaluation.grid and samples.ndim == 4:
        files["samples.png"] = sample_grid(samples[: recipe.evaluation.grid])
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
        prepared.judge(),
        everything.class_names,
    )
    measured = measure(evidence, recipe.evaluation.metrics)
    if measured.notes:
        files["notes.txt"] = "\n".join(measured.notes).encode()
    return measured.values, files
