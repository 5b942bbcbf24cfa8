"""How much is kept for the backward pass."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import torch
from torch import Tensor


class _Kept:
    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def most_kept(computation: Callable[[], object]) -> int:
    """The most numbers that the graphs of `computation` keep at a time, leaves not counted."""
    now = most = 0

    def pack(tensor: Tensor) -> _Kept | Tensor:
        nonlocal now, most
        if tensor.is_leaf and tensor.requires_grad:
            return tensor
        kept, size = _Kept(tensor), tensor.numel()
        now += size
        most = max(most, now)
        weakref.finalize(kept, free, size)
        return kept

    def free(size: int) -> None:
        nonlocal now
        now -= size

    def unpack(packed: _Kept | Tensor) -> Tensor:
        return packed.tensor if isinstance(packed, _Kept) else packed

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        computation()
    return most
