"""Of which class of diffusers a module is, without importing that class."""

from __future__ import annotations

from typing import Any

#: The classes of networks that take text.
TEXT_NETWORKS = ("UNet2DConditionModel", "SD3Transformer2DModel")


def is_a(module: Any, *names: str) -> bool:
    """Whether `module` is an instance of one of these classes of diffusers.

    A process that has such a module has imported its class; another one is spared it. diffusers' networks bring transformers,
    peft and SciPy's statistics along, some three seconds of each worker's start, which a user's own network doesn't need.
    """
    return any(base.__name__ in names and base.__module__.startswith("diffusers.") for base in type(module).__mro__)
