"""The precision of forward passes."""

from __future__ import annotations

import contextlib
from typing import Any

import torch


def precision(name: str, device: torch.device, cached: bool = True) -> Any:
    """The autocast context of the forward pass; `auto` is bf16 where the GPU has it.

    Weights in that precision are kept until it is over where they are `cached`.
    """
    if name == "auto":
        name = "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(name)
    return torch.autocast(device.type, dtype=dtype, cache_enabled=cached) if dtype is not None else contextlib.nullcontext()
