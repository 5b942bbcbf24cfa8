"""Where the examples of a training's steps come from: memory, files as they are drawn, or loader processes that read ahead."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dualsweep.trainer.data.examples import Examples, OnDemand
from dualsweep.trainer.data.joined import on_demand
from dualsweep.trainer.data.read_ahead import CAPACITY, ReadAhead
from dualsweep.trainer.engine.host import Host
from dualsweep.trainer.sources.mixture_batch import GlobalBatch, Integers, Mixture, own_draws
from dualsweep.trainer.transfer import sent

#: Steps that took as many of each part as the one before, from which on the next is taken to do so too.
_STEADY = 3


class Supply:
    """Serves the draws of one worker. Data sets that are read when they are fetched have `loaders` processes each that read
    ahead.

    `loaders` None: as many as there would be threads to read them, if more than one; so none for a user's own data set, which
    need not bear other processes.
    """

    def __init__(self, examples: Examples, mixture: Mixture, host: Host, loaders: int | None) -> None:
        self._examples, self._mixture, self._host, self._loaders = examples, mixture, host, loaders
        self._ahead: list[tuple[list[int], ReadAhead]] | None = None
        self._counts, self._steady = np.empty(0, dtype=np.int64), 0

    def take(self, batch: GlobalBatch, mine: Integers, first: Integers) -> Tensor:
        """The examples [b, *shape] at this worker's positions [b] in a batch, on its device.

        `first` [p] are the parts' first draws in it; the next batch goes on where it ends.

        Raises:
            BadDataError: one is not finite, of another shape than the first, or cannot be read.
        """
        if self._ahead is None:
            self._ahead = self._started(first)
        if self._ahead:
            self._host.observed["read_ahead_examples"] = sum(ahead.ready for _, ahead in self._ahead)
        device, parts, next_parts, next_numbers = self._host.device, batch.part[mine], *self._following(batch, first)
        taken, left = torch.empty((len(mine), *self._examples.shape), device=device), np.full(len(mine), True)
        for served, ahead in self._ahead:
            places, later = np.isin(parts, served), np.isin(next_parts, served)
            following = (next_parts[later], next_numbers[later]) if later.any() else None
            examples = ahead.take(parts[places], batch.number[mine][places], device, following)
            if places.all():
                return examples
            taken[sent(np.flatnonzero(places), device)], left = examples, left & ~places
        if left.all():
            return sent(self._examples.fetch(batch.index[mine]), device)
        taken[sent(np.flatnonzero(left), device)] = sent(self._examples.fetch(batch.index[mine][left]), device)
        return taken

    def _following(self, batch: GlobalBatch, first: Integers) -> tuple[Integers, Integers]:
        """The parts and numbers of this worker's draws in the next batch, where as many of each part come as did for a while.

        None where they change: what is put together for nothing takes time from what reads.
        """
        counts = np.bincount(batch.part, minlength=len(first))
        self._steady = self._steady + 1 if np.array_equal(counts, self._counts) else 0
        self._counts = counts
        if self._steady < _STEADY:
            return batch.part[:0], batch.number[:0]
        return own_draws(counts, first + counts, self._host.rank, self._host.world)

    def _started(self, first: Integers) -> list[tuple[list[int], ReadAhead]]:
        """What reads ahead, each with the parts that it serves: those all of whose rows are of its data set."""
        readers = []
        for start, examples in on_demand(self._examples):
            unasked = examples.threads if examples.threads > 1 else 0
            count = unasked if self._loaders is None else self._loaders
            served = self._mixture.parts.within(range(start, start + len(examples)))
            if examples.reader is not None and count and served:
                readers.append((served, self._reader(start, examples, {part: int(first[part]) for part in served}, count)))
        return readers

    def _reader(self, start: int, examples: OnDemand, first: dict[int, int], count: int) -> ReadAhead:
        rank, world = self._host.rank, self._host.world

        def rows(part: int, numbers: range) -> Integers:
            return self._mixture.rows_of(part, numbers) - start

        own = {part: number + (rank - number) % world for part, number in first.items()}
        return ReadAhead(examples, rows, own, world, count, CAPACITY)

    def close(self) -> None:
        """Ends all loaders; a later step fetches what it draws."""
        for _, ahead in self._ahead or ():
            ahead.close()
        self._ahead = []
