"""A network compiled by `torch.compile`: fewer passes over memory for each of its layers."""

from __future__ import annotations

import torch
from torch import Tensor

from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.predictor import Predictor

#: Sizes of batches and ways to be asked (trained, sampled) that are compiled; torch's own 8 would be too few with several terms.
_MOST = 64


def compile_network(predictor: Predictor, device: torch.device) -> None:
    """From now on the network is compiled where it is first asked with a shape. Its weights keep their names.

    Each shape by itself, so that what is computed depends on the shape alone and not on those before.

    Raises:
        TrainingError: there is no compiler for this device.
    """
    try:
        torch.compile(_trial, dynamic=False)(torch.zeros(8, device=device))
    except Exception as error:  # each backend has errors of its own: no C++ compiler, no headers of Python, no Triton
        first = next(iter(str(error).splitlines()), "")
        raise TrainingError(
            f"train.compile must have a compiler that torch can use for {device.type}, but got {type(error).__name__}: {first}; "
            "install one where the workers run (g++ for a CPU, or what CXX names; Triton for a GPU), or drop train.compile"
        ) from error
    predictor.inner.compile(dynamic=False, recompile_limit=_MOST)


def _trial(x: Tensor) -> Tensor:
    return x.sin() + 1
