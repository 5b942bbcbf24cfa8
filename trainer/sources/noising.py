"""Noised examples for a worker: its shard of a primal step's batch, and its share of the draws that final values are taken on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from trainer.batch import GlobalBatch, Integers, Parts
from trainer.draws import Stream, generator, normals, shard
from trainer.losses import Noised
from trainer.setting import Setting

Fetch = Callable[[Integers], Tensor]


def own_shard(setting: Setting, batch: GlobalBatch, step: int, fetch: Fetch) -> tuple[range, Noised]:
    """This worker's positions in the global batch of primal step `step`, and the noised examples there, on its device.

    `fetch` gives the examples [B, *shape] of rows [B].
    """
    host = setting.host
    mine = shard(len(batch.part), host.rank, host.world)
    within = slice(mine.start, mine.stop)
    x = fetch(batch.index[within]).to(host.device)
    noise = normals(setting.recipe.seed, Stream.NOISE, step, mine, tuple(x.shape[1:])).to(host.device)
    return mine, Noised(setting.schedule, x, noise, torch.from_numpy(batch.timestep[within]).to(host.device))


def fresh(setting: Setting, column: int, groups: Sequence[Integers], fetch: Fetch) -> Iterator[tuple[Integers, Noised]]:
    """This worker's share of `evaluation.loss_draws` draws of one column, stratified in t; nothing where no group has rows.

    With each come their rows. `groups` of rows are equally probable. The draws depend on (seed, column, position), so runs of
    one seed are compared on the same draws.
    """
    recipe, timesteps = setting.recipe, setting.schedule.config.num_train_timesteps
    if not sum(map(len, groups)):
        return
    draws = recipe.evaluation.loss_draws
    uniform = generator(recipe.seed, Stream.VALUES, column).random((2, draws))
    rows = Parts.grouped([groups]).pick(np.zeros(draws, dtype=np.int64), uniform[0])
    t = torch.from_numpy(((np.arange(draws) + uniform[1]) * timesteps / draws).astype(np.int64)).clamp(max=timesteps - 1)
    mine, device = shard(draws, setting.host.rank, setting.host.world), setting.host.device
    for start in range(mine.start, mine.stop, recipe.evaluation.batch_size):
        positions = range(start, min(start + recipe.evaluation.batch_size, mine.stop))
        within = slice(positions.start, positions.stop)
        x = fetch(rows[within]).to(device)
        noise = normals(recipe.seed, Stream.EVALUATION, column, positions, tuple(x.shape[1:])).to(device)
        yield rows[within], Noised(setting.schedule, x, noise, t[within].to(device))
