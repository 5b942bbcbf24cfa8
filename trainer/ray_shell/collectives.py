"""What workers tell each other beside gradients: bytes and numbers, as tensors.

torch's collectives of objects unpickle what a peer sends, and so run any code that it likes.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def gathered(own: bytes, device: torch.device) -> list[bytes] | None:
    """What each member of the group passes, in the order of ranks; on rank 0 only, None elsewhere."""
    sizes = _together(torch.tensor([len(own)], device=device))
    most = int(max(sizes))
    padded = torch.zeros(most, dtype=torch.uint8, device=device)
    if own:
        padded[: len(own)] = torch.frombuffer(bytearray(own), dtype=torch.uint8)
    first = distributed.get_rank() == 0
    parts = [torch.empty_like(padded) for _ in sizes] if first else None
    distributed.gather(padded, parts)
    if parts is None:
        return None
    return [part[: int(size)].cpu().numpy().tobytes() for part, size in zip(parts, sizes, strict=True)]


def agreed(number: int, device: torch.device) -> int:
    """The number that rank 0 passes, on every rank."""
    told = torch.tensor([number], device=device)
    distributed.broadcast(told, 0)
    return int(told)


def _together(own: Tensor) -> list[Tensor]:
    every = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(every, own)
    return every
