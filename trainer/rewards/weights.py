"""The weights of pretrained scorers: state dicts in files, here or on the hub, and networks that hold them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from huggingface_hub import hf_hub_download
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from dualsweep.trainer.config.wording import first_line
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.memory import ran_out

FILES = (".safetensors", ".pt", ".pth", ".bin")


def names_file(name: str) -> bool:
    """Whether `name` is that of a file with weights, not of a directory or a hub id."""
    return name.endswith(FILES) and not Path(name).is_dir()


def read_weights(name: str, option: str) -> dict[str, Tensor]:
    """The state dict, on the CPU, in `name`: a local file, or `owner/repository/file` of the hub.

    Where a trainer's checkpoint holds it as `state_dict`, the rest of the checkpoint is left out. `option` is how errors name it.

    Raises:
        TrainingError: the file cannot be read, or holds no state dict.
    """
    try:
        path = _local(name)
        checkpoint = load_file(path) if path.endswith(".safetensors") else torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, ValueError, SafetensorError, UnpicklingError, RuntimeError, EOFError) as error:
        if ran_out(error):
            raise
        reason = first_line(error)
        raise TrainingError(
            f"`{option}` must be a readable file of weights, but got {name} ({reason}); give a {', '.join(FILES)} file, or "
            "`owner/repository/file` of the hub, which this machine can reach"
        ) from error
    weights = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else checkpoint
    if not isinstance(weights, dict) or not all(isinstance(each, Tensor) for each in weights.values()):
        raise TrainingError(
            f"`{option}` must hold a state dict, but got a {type(weights).__name__} in {name}; save its state_dict()"
        )
    return weights


def _local(name: str) -> str:
    owner, repository, file = [*name.split("/", 2), "", ""][:3]
    if Path(name).exists() or not (owner and repository and file):
        return name
    return hf_hub_download(f"{owner}/{repository}", file)


def renamed(name: str, words: Iterable[tuple[str, str]]) -> str:
    """`name` with every (old, new) part replaced, in order."""
    for old, new in words:
        name = name.replace(old, new)
    return name


def pretrained(network: Any, source: str | None, **given: Any) -> Any:
    """A transformers model in evaluation mode and float32, whose parameters take no gradient.

    From a directory or hub id, or with `source` None from `config` and `state_dict`.

    Raises:
        OSError: it cannot be found or reached.
        ValueError: parameters are missing, which transformers would draw at random.
        RuntimeError: parameters are of other shapes than the model's.
    """
    model, report = network.from_pretrained(source, dtype=torch.float32, output_loading_info=True, **given)
    if missing := sorted(report["missing_keys"]):
        raise ValueError(f"no weights for {len(missing)} parameters, such as {missing[0]}")
    return model.eval().requires_grad_(False)
