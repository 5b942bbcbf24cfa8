"""Samples of the model by all workers together, each its share of the positions."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dualsweep.trainer.evaluation.evaluated import Evaluated
from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.models.spaces import decode_in_parts
from dualsweep.trainer.rng import most_batches, shard
from dualsweep.trainer.samplers.sampling import sample


def sampled(run: Evaluated, model: Predictor, count: int, told: Callable[[float], None] = lambda share: None) -> Tensor | None:
    """The first `count` samples of a run's evaluation on rank 0, in the order of their positions; each worker makes its share.

    `told` hears how much of them is made: every worker tells as often.
    """
    spec, host = run.evaluation, run.host
    mine = shard(count, host.rank, host.world)
    batches = -(-(count // host.world) // spec.batch_size)  # of the worker with the fewest

    def made(number: int) -> None:
        if -(-number // spec.batch_size) < batches:
            told(number / len(mine))

    told(0.0)
    own = sample(
        model, run.schedule, mine, run.shape, sampling=run.sampling, seed=run.seed, batch_size=spec.batch_size, made=made,
        least=most_batches(count, host.world, spec.batch_size),
    )  # fmt: skip
    gathered = host.gather(as_file(own))
    if gathered is None:
        return None
    whole = [torch.from_numpy(np.load(io.BytesIO(part), allow_pickle=False)) for part in gathered]
    return decode_in_parts(run.space, torch.cat(whole), spec.batch_size)


def as_file(samples: Tensor) -> bytes:
    """The bytes of an `.npy` file."""
    written = io.BytesIO()
    np.save(written, samples.numpy(), allow_pickle=False)
    return written.getvalue()
