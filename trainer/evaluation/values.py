"""The objective and the constraints' expectations for given weights, from many stratified draws, shared among workers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import DDPMScheduler
from torch import nn

from trainer.batch import Integers
from trainer.data.examples import Examples
from trainer.draws import Stream, generator, normals, shard
from trainer.dual.state import SlackReport
from trainer.host import Host
from trainer.losses import denoising_losses
from trainer.problem import Estimate
from trainer.recipe import Recipe


@torch.no_grad()
def expectations(
    model: nn.Module, schedule: DDPMScheduler, examples: Examples, parts: Sequence[Integers], recipe: Recipe, host: Host
) -> SlackReport | None:
    """Sums over `loss_draws` draws of (x, t, noise) for each part, over all workers; on rank 0 only.

    The draws depend on (seed, part, position), so runs of one seed are compared on the same draws.
    """
    sums = np.stack([_part(model, schedule, examples, rows, recipe, host, part) for part, rows in enumerate(parts)], axis=1)
    gathered = host.gather(torch.from_numpy(sums))
    if gathered is None:
        return None
    count, total, squares = torch.stack(gathered).sum(0).numpy()
    return SlackReport(0, 0, count, total, squares)


def _part(
    model: nn.Module, schedule: DDPMScheduler, examples: Examples, rows: Integers, recipe: Recipe, host: Host, part: int
) -> np.ndarray:
    """Count, sum and sum of squares [3] of this worker's share of one part's draws; zeros for a part without data."""
    draws = recipe.evaluation.loss_draws if len(rows) else 0
    timesteps = schedule.config.num_train_timesteps
    uniform = generator(recipe.seed, Stream.VALUES, part).random((2, draws))
    chosen = np.minimum((uniform[0] * len(rows)).astype(np.int64), len(rows) - 1)
    t = torch.from_numpy(((np.arange(draws) + uniform[1]) * timesteps / max(1, draws)).astype(np.int64)).clamp(max=timesteps - 1)
    result = np.zeros(3)
    mine = shard(draws, host.rank, host.world)
    for start in range(mine.start, mine.stop, recipe.evaluation.batch_size):
        positions = range(start, min(start + recipe.evaluation.batch_size, mine.stop))
        within = slice(positions.start, positions.stop)
        x = examples.fetch(rows[chosen[within]]).to(host.device)
        noise = normals(recipe.seed, Stream.EVALUATION, part, positions, tuple(x.shape[1:])).to(host.device)
        losses = (
            denoising_losses(model, schedule, x, noise, t[within].to(host.device), recipe.train.loss_weight)
            .double()
            .cpu()
            .numpy()
        )
        result += (len(losses), losses.sum(), (losses**2).sum())
    return result


def held_out_metrics(estimate: Estimate, names: Sequence[str], values: np.ndarray) -> dict[str, float]:
    """`eval/objective` and `eval/value/NAME` of held-out data; a part without held-out data is left out."""
    metrics = {"eval/objective": float(estimate.mean[0])}
    metrics |= {f"eval/value/{name}": float(value) for name, value in zip(names, values, strict=True)}
    return {name: value for name, value in metrics.items() if np.isfinite(value)}
