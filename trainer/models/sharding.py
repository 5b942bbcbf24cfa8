"""Weights in shards, one on each worker: FSDP2 (Zhao et al. 2023, arXiv 2304.11277; torch's `fully_shard`).

Each of the network's larger parts is put together from all workers where it is called, and dropped afterwards. So all workers
must ask a network equally often, in the same order. What leaves a worker are tensors alone, by collectives.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, distributed, nn

from dualsweep.trainer.config.wording import first_line
from dualsweep.trainer.errors import BadPartError, TrainingError
from dualsweep.trainer.models.build import check_shape
from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.recipe.recipe import Recipe

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

#: A part with this share of a network's weights is put together by itself.
_LEAST = 1 / 16
#: Parts of blocks that a network of diffusers (DiT) also calls by themselves, when their block is not put together.
_APART = ("CombinedTimestepLabelEmbeddings",)


def in_shards(recipe: Recipe) -> bool:
    """Whether weights lie in shards: the recipe says so, and there are several workers to have them."""
    asked = recipe.resources.parallel == "fsdp" and distributed.is_initialized()
    return asked and distributed.get_world_size() > 1


def place(predictor: Predictor, device: torch.device, recipe: Recipe) -> Predictor:
    """Puts a model onto the device, or where weights lie in shards this worker's, a part at a time; returns it.

    Raises:
        TrainingError: a weight has no dimension that could be divided.
    """
    if in_shards(recipe):
        _divide(predictor.inner, device)
    return predictor.to(device)


def _divide(network: nn.Module, device: torch.device) -> None:
    """Divides a network's weights among all workers, unless they are."""
    from torch.distributed.device_mesh import init_device_mesh  # half a second, which others need not wait
    from torch.distributed.fsdp import FSDPModule, fully_shard

    if isinstance(network, FSDPModule):
        return
    if scalar := next((name for name, each in network.named_parameters() if not each.ndim), None):
        raise TrainingError(
            "with resources.parallel: fsdp a network's weights must have a dimension, along which they are divided, but got "
            f"{scalar}, a single number; make it one of shape [1], or write parallel: ddp"
        )
    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    for unit in _units(network):
        fully_shard(unit, mesh=mesh, reshard_after_forward=True)  # the whole too: averages may stand there next time


def check_asked(predictor: Predictor, shape: tuple[int, ...]) -> None:
    """One forward pass of a model in shards, which is known to take samples of this shape.

    Raises:
        TrainingError: it reads weights where they are not put together.
    """
    try:
        check_shape(predictor, shape)
    except BadPartError as error:
        raise TrainingError(
            "with resources.parallel: fsdp a network's parts must be called, as their weights are put together for the call "
            f"alone, but got one whose forward reads them otherwise ({first_line(error.__cause__ or error)}); call them, or "
            "write parallel: ddp"
        ) from error


def _units(network: nn.Module) -> list[nn.Module]:
    """The parts that are put together by themselves, inner ones first; last the network, with all that is left.

    The network alone where a weight stands in several places, which may be of several parts.
    """
    least = _LEAST * sum(each.numel() for each in network.parameters())
    if len(list(network.named_parameters(remove_duplicate=False))) > len(list(network.parameters())):
        return [network]
    taken: set[int] = set()

    def parts(module: nn.Module) -> Iterator[nn.Module]:
        for child in module.children():
            yield from parts(child)
        left = {id(each): each.numel() for each in module.parameters() if id(each) not in taken}
        called = type(module).forward is not nn.Module.forward
        if module is network or (left and called and (sum(left.values()) >= least or type(module).__name__ in _APART)):
            taken.update(left)
            yield module

    return list(parts(network))


def whole(shard: Tensor, like: DTensor) -> Tensor:
    """The tensor of which every worker passes its `shard`, [*like.shape] on the CPU of the first worker.

    On others one of that shape without content. To be called by all of them.
    """
    first = distributed.get_rank() == 0
    padded = shard.new_zeros(_rows(like), *like.shape[1:])
    padded[: len(shard)] = shard.detach()
    parts = [torch.empty_like(padded) for _ in range(distributed.get_world_size())] if first else None
    distributed.gather(padded, parts)
    if parts is None:
        return torch.empty(like.shape, dtype=shard.dtype, device="meta")
    return torch.cat([part.cpu() for part in parts])[: len(like)].clone()


def own_shard(tensor: Tensor, like: DTensor) -> Tensor:
    """This worker's shard of a whole tensor [*like.shape], on the device of `like`."""
    start = distributed.get_rank() * _rows(like)
    return tensor[start : start + _rows(like)].to(like.device)


def joined(shard: Tensor, like: DTensor) -> DTensor:
    """The tensor that is divided as `like` is, of which this worker's part is `shard` itself, not a copy."""
    from torch.distributed.tensor import DTensor

    made: DTensor = DTensor.from_local(
        shard, like.device_mesh, like.placements, run_check=False, shape=like.size(), stride=like.stride()
    )
    return made


def _rows(like: DTensor) -> int:
    """Rows of a worker's shard; the last ones' may be fewer, or none."""
    return -(-len(like) // distributed.get_world_size())


def skeleton(predictor: Predictor) -> Predictor:
    """A copy in which weights have their shapes alone."""
    bare = {id(each): nn.Parameter(each.to("meta"), requires_grad=each.requires_grad) for each in predictor.parameters()}
    return copy.deepcopy(predictor, bare)


def with_weights(bare: Predictor, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> Predictor:
    """A copy of a skeleton that has these weights, of all its parameters, and these buffers."""
    given = {id(each): nn.Parameter(weights[name], requires_grad=each.requires_grad) for name, each in bare.named_parameters()}
    made = copy.deepcopy(bare, given)
    for name, each in made.named_buffers():
        each.copy_(buffers[name])
    return made
