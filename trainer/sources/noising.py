"""Noised examples for a worker: its share of a primal step's batch, and its share of the draws that final values are taken on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from dualsweep.trainer.evaluation.drawn import JointDraws
from dualsweep.trainer.rng import Stream, batches, generator, most_batches, normals, shard, whose_turn
from dualsweep.trainer.sources.augmentation import Augmentation
from dualsweep.trainer.sources.mixture_batch import GlobalBatch, Integers, Parts
from dualsweep.trainer.terms.context import TermContext
from dualsweep.trainer.terms.losses import Noised
from dualsweep.trainer.terms.timesteps import Timesteps
from dualsweep.trainer.transfer import sent

Fetch = Callable[[Integers], Tensor]


def noised_share(
    setting: TermContext, batch: GlobalBatch, mine: Integers, x: Tensor, step: int, prompts: Integers | None = None
) -> Noised:
    """The examples x [b, *shape] at a worker's positions [b] in the global batch of primal step `step`, noised, on its device.

    `prompts` [b] is what each is given, of a model of several.
    """
    device = setting.host.device
    noise = normals(setting.seed, Stream.NOISE, step, mine, tuple(x.shape[1:]))
    noise = sent(_offset(setting, noise, step, mine), device)
    given = None if prompts is None else sent(prompts, device)
    return Noised(setting.schedule, sent(x, device), noise, sent(batch.timestep[mine], device), given)


def _offset(setting: TermContext, noise: Tensor, step: int, positions: range | Integers) -> Tensor:
    """The noise [b, C, ...] with offsets of whole channels, where the recipe asks for them (`train.offset_noise`)."""
    size = setting.train.offset_noise
    if not size:
        return noise
    return noise + size * normals(setting.seed, Stream.OFFSET, step, positions, (noise.shape[1], *[1] * (noise.ndim - 2)))


@dataclass(frozen=True)
class Fresh:
    """Draws for final values: of which row [n] and of which group [n] of rows each is, and its timestep [n]."""

    rows: Integers
    groups: Integers
    timesteps: Integers


def fresh(
    setting: TermContext, column: int, groups: Sequence[Integers], draws: range, *, in_turn: bool, timesteps: Timesteps
) -> Fresh:  # fmt: skip
    """The final `draws` of one column, one in each of as many equal strata of t; nothing where no group has rows.

    `groups` of rows are equally probable; rows are drawn with replacement, or, `in_turn`, each row of a group equally often,
    for means over what the rows are themselves drawn from. The draws depend on (seed, column, position), so runs of one seed
    are compared on the same draws.
    """
    if not sum(map(len, groups)):
        return Fresh(*np.empty((3, 0), dtype=np.int64))
    seed = setting.seed
    uniform = generator(seed, Stream.VALUES, column, draws.start).random((2, len(draws)))
    if in_turn:
        rows, group = _in_turn(groups, draws, partial(generator, seed, Stream.VALUES, column))
    else:
        rows = Parts.grouped([groups]).pick(np.zeros(len(draws), dtype=np.int64), uniform[0])
        group = np.zeros(len(draws), dtype=np.int64)
    return Fresh(rows, group, timesteps.at(np.arange(len(draws)) + uniform[1], len(draws)))


def _in_turn(
    groups: Sequence[Integers], draws: range, source: Callable[[int], np.random.Generator]
) -> tuple[Integers, Integers]:  # fmt: skip
    """Rows [n] and groups [n]: groups take turns, and each round through a group's rows has an order of its own."""
    positions = np.arange(draws.start, draws.stop)
    group, place = whose_turn(len(groups), positions), positions // len(groups)
    rows = np.empty(len(draws), dtype=np.int64)
    for number, members in enumerate(groups):
        of_group = group == number
        turns, places = np.divmod(place[of_group], len(members))
        orders = {turn: source(((1 + number) << 32) + int(turn)).permutation(members) for turn in np.unique(turns)}
        rows[of_group] = [orders[turn][at] for turn, at in zip(turns, places, strict=True)]
    return rows, group


def noised(
    setting: TermContext, column: int, drawn: Fresh, draws: range, fetch: Fetch, prompts: Integers | None = None,
    augmentation: Augmentation | None = None,
) -> Iterator[tuple[slice, Noised]]:  # fmt: skip
    """This worker's share of `drawn`, noised, a batch at a time, each with its place among the `draws`.

    `prompts` [N] is what each row of the data is given, of a model of several; `augmentation` is what is done to draws of the
    data.
    """
    if not len(drawn.rows):
        return
    size, device = setting.evaluation.batch_size, setting.host.device
    mine = shard(len(draws), setting.host.rank, setting.host.world)
    for batch in batches(mine, size, most_batches(len(draws), setting.host.world, size)):
        within = slice(batch.start, batch.stop)
        positions = draws[within]
        x = fetch(drawn.rows[within]).to(device)
        x = augmentation.of_draws(x, column, drawn.rows, draws, within) if augmentation is not None else x
        noise = normals(setting.seed, Stream.EVALUATION, column, positions, tuple(x.shape[1:]))
        noise = _offset(setting, noise, (1 << 40) + column, positions).to(device)
        given = None if prompts is None else torch.from_numpy(prompts[drawn.rows[within]]).to(device)
        yield within, Noised(setting.schedule, x, noise, torch.from_numpy(drawn.timesteps[within]).to(device), given)


def joint_draws(
    setting: TermContext, columns: Sequence[int], drawn: Fresh, values: Sequence[Tensor], pool: str | None
) -> list[JointDraws]:  # fmt: skip
    """This worker's `values`, batches [B, k] of k expectations, of its share of `drawn`; of units of `pool`, if there is one."""
    mine = shard(len(drawn.rows), setting.host.rank, setting.host.world)
    if not values:
        return []
    within, plain = slice(mine.start, mine.stop), torch.cat(list(values)).double().cpu().numpy()
    several = bool(len(drawn.groups)) and bool(drawn.groups.max())
    return [
        JointDraws(
            tuple(columns), plain, (len(plain),), stratified=True, units=drawn.rows[within] if pool is not None else None,
            groups=drawn.groups[within] if pool is not None and several else None, pool=pool or "",
        )
    ]  # fmt: skip
