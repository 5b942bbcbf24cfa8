"""What one worker does, whoever hosts it: data, model, the loop, and the evaluation of what came out."""

from __future__ import annotations

import io
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from diffusers import DDPMScheduler
from torch import Tensor

from trainer.data.splits import Assembled, assemble
from trainer.draws import shard
from trainer.dual.controller import reduce
from trainer.evaluation.evidence import Evidence
from trainer.evaluation.grid import sample_grid
from trainer.evaluation.images import Rows
from trainer.evaluation.judge import judge_for
from trainer.evaluation.metrics import measure, resolve
from trainer.evaluation.values import expectations, held_out_metrics
from trainer.history import point
from trainer.host import Host
from trainer.loop import Loop
from trainer.models import build, noise_schedule
from trainer.outcome import Result, outcomes, settled_multipliers, verdict
from trainer.places import RESULT, write_files
from trainer.primal import Primal
from trainer.recipe import Recipe
from trainer.sampling import sample


def work(recipe: Recipe, host: Host, output: str, judges: str | None = None) -> Result | None:
    """One whole training as worker `host.rank` sees it; the result on rank 0, None elsewhere.

    Rank 0 writes `samples.npy`, `samples.png` and, last of all, `result.json` to `output`, a folder or fsspec URI;
    `judges` is the local folder in which trained judges are kept for other runs. The last report carries the result.

    Raises:
        TrainingError: the model, the data or a user's part is unusable, for a reason that trying again won't mend.
    """
    resolve(recipe.evaluation.metrics)  # a wrong import path must cost no training
    data = assemble(recipe)
    predictor = build(recipe, data.examples.shape)
    schedule = noise_schedule(recipe, data.examples.shape)
    loop = Loop(recipe, data, predictor, schedule, host, lambda primal: _files(recipe, primal, schedule))
    end = loop.run()
    result, images = _evaluate(loop, data, end, judges)
    host.checkpoints.flush()
    if result is not None:
        loop.add_point(result.metrics)
        write_files(output, {**images, RESULT: json.dumps(result.to_json(), indent=2).encode()})
    loop.report(result=result.to_json() if result else None)
    return result


def _files(recipe: Recipe, primal: Primal, schedule: DDPMScheduler) -> dict[str, bytes]:
    """The small files of a checkpoint, and a diffusers pipeline of the averaged weights where the model is a diffusers one."""
    plain = recipe.model_dump(mode="json")
    files = {"recipe.yaml": yaml.safe_dump(plain, sort_keys=False).encode()}
    with tempfile.TemporaryDirectory() as folder:
        schedule.save_pretrained(Path(folder) / "scheduler")
        if hasattr(primal.predictor.inner, "save_pretrained"):
            with primal.averaged() as predictor:
                predictor.inner.save_pretrained(Path(folder) / "unet", safe_serialization=True)
            index = {
                "_class_name": "DDPMPipeline",
                "scheduler": ["diffusers", "DDPMScheduler"],
                "unet": ["diffusers", "UNet2DModel"],
            }
            files["model_index.json"] = json.dumps(index).encode()
        files |= {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}
    return files


def _evaluate(loop: Loop, data: Assembled, end: Any, judges: str | None) -> tuple[Result | None, dict[str, bytes]]:
    """Final values of the averaged weights, then samples and what is measured on them."""
    recipe, host, started = loop.recipe, loop.host, time.monotonic()
    with loop.primal.averaged() as model:
        trained = expectations(model, loop.schedule, data.examples, [data.objective_rows, *data.constraint_rows], recipe, host)
        held = [data.held_out_objective_rows, *data.held_out_constraint_rows]
        held_out = expectations(model, loop.schedule, data.examples, held, recipe, host)
        samples = _samples(loop, model, data.examples.shape)
    if trained is None or held_out is None:
        return None, {}
    estimate, held_estimate = reduce([trained]), reduce([held_out])
    multipliers = settled_multipliers(loop.state)
    constraints = outcomes(loop.problem, estimate, multipliers)
    metrics = point(loop.problem, estimate.mean, loop.problem.slack_errors(estimate.variance), multipliers)
    metrics |= held_out_metrics(held_estimate, loop.problem.names, loop.problem.values(held_estimate.mean))
    images: dict[str, bytes] = {}
    if samples is not None and len(samples):
        more, images = _measure(recipe, data, samples, judges)
        metrics |= more
    status, reason = end or verdict(loop.state, constraints)
    if not np.isfinite(estimate.mean).all():
        status, reason = "diverged", "the final objective or a constraint's value is not finite; lower train.lr"
    metrics["system/seconds"] = loop.seconds + time.monotonic() - started
    result = Result(
        status=status, reason=reason, objective=float(estimate.mean[0]), objective_error=float(np.sqrt(estimate.variance[0])),
        constraints=constraints, feasible=bool(metrics["feasible"]) and status not in ("diverged", "failed"), steps=loop.step,
        seconds=metrics["system/seconds"], checkpoint=host.checkpoints.path(loop.step), metrics=metrics,
    )  # fmt: skip
    return result, images


def _samples(loop: Loop, model: torch.nn.Module, shape: tuple[int, ...]) -> Tensor | None:
    """All samples on rank 0, in the order of their positions; each worker makes its share."""
    spec, host = loop.recipe.evaluation, loop.host
    mine = shard(spec.samples, host.rank, host.world)
    own = sample(
        model,
        loop.schedule,
        mine,
        shape,
        sampler=spec.sampler,
        steps=spec.sample_steps,
        seed=loop.recipe.seed,
        batch_size=spec.batch_size,
    )
    gathered = host.gather(own)
    return torch.cat(gathered) if gathered is not None else None


def _measure(recipe: Recipe, data: Assembled, samples: Tensor, judges: str | None) -> tuple[dict[str, float], dict[str, bytes]]:
    """Metrics of the samples, and the files that keep them. One judge for all seeds, so that their distances compare."""
    everything = data.split.examples
    judge = judge_for(everything, recipe.evaluation.judge, 0, judges)
    trained = np.unique(np.concatenate([data.objective_rows, *data.constraint_rows]))
    held_out = Rows(everything, data.split.held_out) if len(data.split.held_out) else None
    evidence = Evidence(
        samples,
        Rows(data.examples, trained),
        Rows(everything, np.arange(len(everything))),
        held_out,
        judge,
        everything.class_names,
    )
    measured = measure(evidence, recipe.evaluation.metrics)
    stored = io.BytesIO()
    np.save(stored, samples.numpy())
    files = {"samples.npy": stored.getvalue()}
    if measured.notes:
        files["notes.txt"] = "\n".join(measured.notes).encode()
    if recipe.evaluation.grid and samples.ndim == 4:
        files["samples.png"] = sample_grid(samples[: recipe.evaluation.grid])
    return measured.values, files
