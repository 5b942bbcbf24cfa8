"""What a network changes beside its weights as it is trained, such as a BatchNorm's means: the same on all workers."""

from __future__ import annotations

import torch
from torch import distributed, nn


@torch.no_grad()
def share_buffers(network: nn.Module) -> None:
    """Gives all workers the first one's buffers, which checkpoints hold; to be called by all of them after each update.

    Each worker would have those of its own batches. All are sent, as DDP does it by default: which ones a network changes, and
    from which step on, is nowhere written.
    """
    for buffer in network.buffers():
        value = buffer.to(torch.uint8) if buffer.dtype == torch.bool else buffer.contiguous()
        distributed.broadcast(value, src=0)
        if value is not buffer:
            buffer.copy_(value)
