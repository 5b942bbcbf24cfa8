"""Every random draw as a function of (seed, step, position in the global batch), so that a resumed run equals an
uninterrupted one and the number of workers changes nothing but the order of floating-point sums.

Uniform draws come from one counter-based generator a step. Normal draws are made in blocks of positions, each block with
its own generator: a worker makes only the blocks its shard touches, whatever the world size.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch

BLOCK = 32


class Stream(IntEnum):
    """What a draw is for; each purpose has its own stream of numbers."""

    BATCH = 1
    NOISE = 2
    SAMPLING = 3
    EVALUATION = 4
    JUDGE = 5
    SPLIT = 6
    WEIGHTS = 7
    VALUES = 8
    ROLLOUT = 9
    TRUNCATION = 10
    POOL = 11
    NORMALIZATION = 12
    PROMPT = 13
    MULTIPLIERS = 14


def generator(seed: int, stream: Stream, *counters: int) -> np.random.Generator:
    """A numpy generator for one purpose; `counters` (step, block, …) are up to two numbers below 2^64."""
    first, second = (*counters, 0, 0)[:2]
    # Philox is counter-based: the key names the stream, the high words of the counter the place in it.
    return np.random.Generator(np.random.Philox(key=[seed, int(stream)], counter=[0, 0, first, second]))


def normals(seed: int, stream: Stream, step: int, positions: range, shape: tuple[int, ...]) -> torch.Tensor:
    """Standard normal draws [len(positions), *shape] for consecutive positions of the global batch."""
    if not len(positions):
        return torch.empty((0, *shape))
    first, last = positions.start // BLOCK, (positions.stop - 1) // BLOCK
    blocks = []
    for block in range(first, last + 1):
        source = torch.Generator().manual_seed(int(generator(seed, stream, step, block).integers(2**63)))
        blocks.append(torch.randn((BLOCK, *shape), generator=source))
    offset = positions.start - first * BLOCK
    return torch.cat(blocks)[offset : offset + len(positions)]


def drawn(count: int, seed: int, step: int, total: int) -> torch.Tensor | None:
    """Which of `count` prompts each of the `total` positions of a global batch has, [total]; None where there is one at most.

    One in each of `total` equal strata: each prompt's share of a batch is the same up to one sample.
    """
    if count < 2:
        return None
    place = (np.arange(total) + generator(seed, Stream.PROMPT, step).random(total)) * count / total
    return torch.from_numpy(np.minimum(place.astype(np.int64), count - 1))


def in_turn(count: int, positions: range) -> torch.Tensor | None:
    """Prompts of samples that are measured, by position: position k has prompt k modulo `count`; None of a single prompt."""
    return torch.arange(positions.start, positions.stop) % count if count > 1 else None


def shard(total: int, rank: int, world: int) -> range:
    """The consecutive positions of worker `rank`: sizes differ by one at most, the first workers have the larger."""
    size, larger = divmod(total, world)
    start = rank * size + min(rank, larger)
    return range(start, start + size + (rank < larger))
