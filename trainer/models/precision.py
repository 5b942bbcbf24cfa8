"""The precision of forward passes."""

from __future__ import annotations

import contextlib
from typing import Any

import torch


def precision(name: str, device: torch.device) -> Any:
    """The autocast context of the forward pass; `auto` is bf16 where the GPU has it."""
    wanted = name == "bf16" or (name == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported())
    return torch.autocast(device.type, dtype=torch.bfloat16) if wanted else contextlib.nullcontext()
