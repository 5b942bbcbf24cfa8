"""Which files of weights a folder of diffusers holds: under its usual names, or of variants (`model.fp16.safetensors`) alone.

Plain Python: the checks use it.
"""

from __future__ import annotations

import re
from pathlib import Path

from dualsweep.trainer.storage import is_local, local_path

#: What weights are called, without their ends: those of diffusers' models, and of transformers' text encoders.
_STEMS = r"(?:diffusion_pytorch_model|model|pytorch_model)"
_SHARD = r"(?:-\d{5}-of-\d{5})?"
_PLAIN = re.compile(rf"{_STEMS}{_SHARD}\.(?:safetensors|bin)(?:\.index\.json)?")
_VARIANT = re.compile(rf"{_STEMS}{_SHARD}\.(?!safetensors|bin)(\w+){_SHARD}\.(?:safetensors|bin)")


def variants(folder: Path) -> tuple[str, ...] | None:
    """The variants of weights in a folder that has none under their usual names, () where it has no weights; else None."""
    names = [each.name for each in folder.iterdir() if each.is_file()] if folder.is_dir() else []
    if any(_PLAIN.fullmatch(name) for name in names):
        return None
    return tuple(sorted({found.group(1) for name in names if (found := _VARIANT.fullmatch(name))}))


def variant_of(place: str, *below: str) -> str | None:
    """The one variant that the weights in a local folder are of, to be asked of diffusers by name; None where none need be."""
    if not is_local(place):
        return None
    found = variants(local_path(place).joinpath(*below))
    return found[0] if found and len(found) == 1 else None
