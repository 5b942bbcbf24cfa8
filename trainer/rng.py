"""Every random draw as a function of (seed, step, position in the global batch), so that a resumed run equals an
uninterrupted one and the number of workers changes nothing but the order of floating-point sums.

Uniform draws of a step come from one counter-based generator. Which examples are drawn does not depend on the step: the k-th draw
of a part of the data is the k-th number of a sequence of its own, so that it is known before it is known when it is drawn. Normal
draws are made in blocks of positions, each block with its own generator: a worker makes only the blocks its positions touch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch  # at run time where tensors are drawn: who decides and reviews draws none, and starts a second sooner

BLOCK = 32
#: Numbers of a sequence that are made together.
UNIFORM_BLOCK = 1024
#: Prompts up to so many have their turns as they are listed: a sample grid shows all of them, in that order.
LISTED = 64


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
    EXAMPLES = 15
    CONDITION = 16
    FLIP = 17
    CROP = 18
    OFFSET = 19
    OWN_PARTS = 20


def generator(seed: int, stream: Stream, *counters: int) -> np.random.Generator:
    """A numpy generator for one purpose; `counters` (step, block, …) are up to two numbers below 2^64."""
    first, second = (*counters, 0, 0)[:2]
    # Philox is counter-based: the key names the stream, the high words of the counter the place in it.
    return np.random.Generator(np.random.Philox(key=[seed, int(stream)], counter=[0, 0, first, second]))


def uniforms(seed: int, stream: Stream, sequence: int, numbers: range) -> NDArray[np.float64]:
    """The numbers of these places [n] in an endless sequence of uniform draws in [0, 1): a function of (seed, sequence,
    place).
    """
    if not numbers:
        return np.empty(0)
    first, last = numbers[0] // UNIFORM_BLOCK, numbers[-1] // UNIFORM_BLOCK
    blocks = np.concatenate([_uniform_block(seed, stream, sequence, block) for block in range(first, last + 1)])
    return blocks[numbers[0] - first * UNIFORM_BLOCK :: numbers.step][: len(numbers)]


@lru_cache(maxsize=512)  # 4 MB: the present block of every part, and those that are read ahead
def _uniform_block(seed: int, stream: Stream, sequence: int, block: int) -> NDArray[np.float64]:
    return generator(seed, stream, sequence, block).random(UNIFORM_BLOCK)


def normals(
    seed: int, stream: Stream, step: int, positions: range | NDArray[np.int64], shape: tuple[int, ...]
) -> torch.Tensor:  # fmt: skip
    """Standard normal draws [len(positions), *shape] for positions of the global batch, ascending."""
    import torch

    if not len(positions):
        return torch.empty((0, *shape))
    places = np.asarray(positions)
    blocks, block_of = np.unique(places // BLOCK, return_inverse=True)
    drawn = torch.cat([_normal_block(seed, stream, step, int(block), shape) for block in blocks])
    at = block_of * BLOCK + places % BLOCK
    if at[-1] - at[0] + 1 == len(at):  # one range, which needs no copy
        return drawn[at[0] : at[-1] + 1]
    return drawn[torch.from_numpy(at)]


def _normal_block(seed: int, stream: Stream, step: int, block: int, shape: Sequence[int]) -> torch.Tensor:
    import torch

    source = torch.Generator().manual_seed(int(generator(seed, stream, step, block).integers(2**63)))
    return torch.randn((BLOCK, *shape), generator=source)


def drawn(count: int, seed: int, step: int, total: int) -> torch.Tensor | None:
    """Which of `count` prompts each of the `total` positions of a global batch has, [total]; None where there is one at most.

    One in each of `total` equal strata: each prompt's share of a batch is the same up to one sample.
    """
    if count < 2:
        return None
    import torch

    place = (np.arange(total) + generator(seed, Stream.PROMPT, step).random(total)) * count / total
    return torch.from_numpy(np.minimum(place.astype(np.int64), count - 1))


def whose_turn(count: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which of `count` prompts, classes or groups has its turn at these positions of what is measured, a function of both alone.

    Of up to `LISTED` position k has number k modulo `count`. More have their turns in strides near count / 1.618, as of
    Kronecker's sequence of the golden ratio: whatever is measured first is spread evenly over all of them. Each `count`
    successive positions have each once.
    """
    place = positions % count
    return place if count <= LISTED else place * _stride(count) % count


@lru_cache
def _stride(count: int) -> int:
    """The step without a factor in common with `count` whose multiples are spread best: the largest quotient in the continued
    fraction of step / count is as small as it can be (Niederreiter, *Random Number Generation*, 1992, theorem 3.4)."""
    aim = round(count * (math.sqrt(5.0) - 1.0) / 2.0)
    near = [each for each in range(aim - 32, min(aim + 33, count)) if math.gcd(each, count) == 1]
    return min(near, key=lambda each: (_largest_quotient(each, count), abs(each - aim)))


def _largest_quotient(step: int, count: int) -> int:
    largest = 1
    while step:
        largest, (count, step) = max(largest, count // step), (step, count % step)
    return largest


def in_turn(count: int, positions: range) -> torch.Tensor | None:
    """Prompts of samples that are measured, by position, as `whose_turn` has them; None of a single prompt."""
    import torch

    return torch.from_numpy(whose_turn(count, np.arange(positions.start, positions.stop))) if count > 1 else None


def shard(total: int, rank: int, world: int) -> range:
    """The consecutive positions of worker `rank`: sizes differ by one at most, the first workers have the larger."""
    size, larger = divmod(total, world)
    start = rank * size + min(rank, larger)
    return range(start, start + size + (rank < larger))


def batches(positions: range, most: int, least: int = 0) -> list[range]:
    """Positions in batches of `most` at most; where these would be fewer than `least`, the last is divided."""
    parts = [positions[at : at + most] for at in range(0, len(positions), most)]
    if len(parts) < least and parts and len(parts[-1]) > 1:
        last = parts.pop()
        parts += [last[: len(last) // 2], last[len(last) // 2 :]]
    return parts


def most_batches(total: int, world: int, most: int) -> int:
    """Of batches that a worker makes of its positions; all make as many, as a model in shards is asked by all of them at once."""
    return -(-len(shard(total, 0, world)) // most)
