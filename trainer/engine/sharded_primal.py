"""The primal side of a model whose weights lie in shards: each worker averages, updates and remembers its own alone.

The worker's shards are plain parameters over the same memory as those of the network, so that averages, gradients and the
optimiser are those of `GradientPrimal`. Checkpoints hold whole tensors, gathered one at a time: they are the same with any
number of workers, and wherever they are read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed.tensor import DTensor

from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.engine.gradient_primal import GradientPrimal, Groups
from dualsweep.trainer.engine.gradients import Gradients
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.models.sharding import joined, own_shard, place, skeleton, whole, with_weights


class ShardedPrimal(GradientPrimal):
    """One worker's shards of the weights, of their averages and of what the optimiser remembers."""

    together = True

    def _spread(self) -> list[nn.Parameter]:
        if self.predictor.adapted:
            raise TrainingError(
                "resources.parallel: fsdp must go with a network that is trained itself, but got one under an adapter; write "
                "parallel: ddp, with which its frozen weights are all on each worker"
            )
        self._skeleton = skeleton(self.predictor)
        place(self.predictor, self.device, self.recipe)
        self._divided = [cast(DTensor, each) for each in self.predictor.parameters() if each.requires_grad]
        return [nn.Parameter(each.to_local().detach()) for each in self._divided]

    @cached_property
    def _gradients(self) -> list[Gradients]:
        own = Gradients(self.parameters, laid=True, norm=_over_workers)
        for parameter, divided in zip(self.parameters, self._divided, strict=True):
            assert parameter.grad is not None  # laid out
            divided.grad = joined(parameter.grad, divided)
        return [own, *self._beside()]

    def _average_gradients(self) -> None:
        """Those of the networks beside the model; its own were averaged where they were computed."""
        self._average(self._gradients[1:])

    @contextlib.contextmanager
    def whole(self, coefficients: Vector) -> Iterator[Predictor | None]:
        averages = iter(self.average.tensors)
        weights: dict[str, Tensor] = {}
        for name, each in self.predictor.named_parameters():
            divided = cast(DTensor, each)
            weights[name] = whole(next(averages) if each.requires_grad else divided.to_local(), divided)
        buffers = dict(self.predictor.named_buffers())
        yield with_weights(self._skeleton, weights, buffers) if self.rank == 0 else None

    def _kept(self, group: str, name: str, value: Tensor) -> Tensor:
        like = self._like(group, name, value)
        if like is None:
            return super()._kept(group, name, value)
        return whole(value.to_local() if isinstance(value, DTensor) else value, like)

    def _own(self, groups: Groups) -> Groups:
        stored = self.predictor.stored()

        def own(group: str, name: str, value: Tensor) -> Tensor:
            like = self._like(group, name, stored[name] if group == "weights" and name in stored else value)
            if like is None:
                return value
            return joined(own_shard(value, like), like) if group == "weights" else own_shard(value, like)

        return {group: {name: own(group, name, value) for name, value in each.items()} for group, each in groups.items()}

    def _like(self, group: str, name: str, value: Tensor) -> DTensor | None:
        """The parameter that is divided as the value of this name is; None where it is the same on all workers."""
        if group not in ("average", "optimizer"):
            return value if isinstance(value, DTensor) else None
        index = int(name.partition(".")[0])
        return self._divided[index] if index < len(self._divided) and value.ndim else None


def _over_workers(norm: Tensor) -> Tensor:
    """The norm of what all workers have a part of, from this one's."""
    norms = norm.new_empty(distributed.get_world_size())
    distributed.all_gather_single(norms, norm[None])
    every: Tensor = torch.linalg.vector_norm(norms)
    return every
