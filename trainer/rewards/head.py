"""The head of an aesthetic score, as LAION publishes them: a state dict of linear layers."""

from __future__ import annotations

import re
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from trainer.errors import TrainingError


def load_head(path: str, width: int, device: torch.device) -> list[nn.Linear]:
    """The linear layers in `path`, in order, from an embedding [B, `width`] to values [B, 1], without gradients of their own.

    LAION's first heads are one layer (`weight`, `bias`), their improved ones five (`layers.0.weight`, …) with dropout
    between them, which does nothing here.

    Raises:
        TrainingError: the file cannot be read, or holds something else than such layers.
    """
    weights = _read(path)
    names = sorted((name.removesuffix("weight") for name in weights if name.endswith("weight")), key=_natural)
    sizes = [tuple(weights[f"{name}weight"].shape) for name in names]
    chained = [shape[::-1] for shape in sizes] if all(len(shape) == 2 for shape in sizes) else []
    ends = [width, *(out for _, out in chained)]
    fits = bool(chained) and [into for into, _ in chained] == ends[:-1] and ends[-1] == 1
    if not fits or set(weights) - {f"{name}{part}" for name in names for part in ("weight", "bias")}:
        shapes = {name: list(tensor.shape) for name, tensor in weights.items()}
        raise TrainingError(
            f"`head` must hold linear layers from {width} numbers to 1 for this CLIP, but got {shapes} in {path}; "
            "give the head that was trained on this model's embeddings"
        )
    return [_layer(weights[f"{name}weight"], weights.get(f"{name}bias"), device) for name in names]


def _read(path: str) -> dict[str, Tensor]:
    try:
        if path.endswith(".safetensors"):
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).partition("\n")[0]
        raise TrainingError(
            f"`head` must be a readable file of weights, but got {path} ({reason}); give a .safetensors or .pth file"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(each, Tensor) for each in found.values()):
        raise TrainingError(f"`head` must hold a state dict, but got a {type(found).__name__} in {path}; save its state_dict()")
    return found


def _natural(name: str) -> list[int]:
    """Layers in the order of their numbers: `layers.10.` after `layers.9.`."""
    return [int(number) for number in re.findall(r"\d+", name)]


def _layer(weight: Tensor, bias: Tensor | None, device: torch.device) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device=device).requires_grad_(False)
    layer.weight.copy_(weight)
    if bias is not None:
        layer.bias.copy_(bias)
    return layer
