"""What a network changes beside its weights as it is trained, such as a BatchNorm's means: the same on all workers."""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn


class MovingBuffers:
    """The buffers of `network` that its forward passes change, of several workers.

    Each worker would have those of its own batches: the first one's, which checkpoints hold, are on all from each update on.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._first = {name: each.detach().clone() for name, each in network.named_buffers()}
        self._moving: list[str] | None = None

    @torch.no_grad()
    def share(self) -> None:
        """To be called by all workers after each update; the first one shows which buffers move, others cost nothing."""
        present = dict(self._network.named_buffers())  # a network may have put others in their place
        if self._moving is None:
            self._moving, self._first = self._moved(present), {}
        for name in self._moving:
            value = present[name].contiguous()
            distributed.broadcast(value, src=0)
            present[name].copy_(value)

    def _moved(self, present: dict[str, Tensor]) -> list[str]:
        """The names of those that are others than at first, on any worker."""
        names = sorted(self._first)
        if not names:
            return []
        moved = torch.tensor([not torch.equal(present[name], self._first[name]) for name in names], dtype=torch.int32)
        moved = moved.to(present[names[0]].device)
        distributed.all_reduce(moved, op=distributed.ReduceOp.MAX)
        return [name for name, has in zip(names, moved.tolist(), strict=True) if has]
