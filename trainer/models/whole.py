"""Whether a folder of diffusers or transformers holds all of a network's weights: the libraries make up those that it lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from dualsweep.trainer.errors import TrainingError

#: What weights under a low-rank adapter of peft are called, and the adapter's own.
_OF_ADAPTERS = (".base_layer.", "lora_")


def whole(kind: Any, place: str, **options: Any) -> nn.Module:
    """`kind.from_pretrained(place, **options)`.

    Raises:
        TrainingError: weights of it are missing from its folder, or of another shape.
        OSError, ValueError: as the library does.
    """
    network, told = kind.from_pretrained(place, output_loading_info=True, **options)
    other = told.get("mismatched_keys", ())  # with the two shapes each
    for has, keys in (("lacks {}", told["missing_keys"]), ("has {} of another shape", [key for key, *_ in other])):
        if keys:
            raise TrainingError(_message(place, str(options.get("subfolder", "")), kind.__name__, has, sorted(keys), told))
    loaded: nn.Module = network
    return loaded


def _message(place: str, part: str, kind: str, has: str, keys: Sequence[str], told: Mapping[str, Any]) -> str:
    adapted = any(mark in str(key) for key in told.get("unexpected_keys", ()) for mark in _OF_ADAPTERS)
    remedy = (
        "it was saved with an adapter in it: save it after fuse_lora() and unload_lora_weights()"
        if adapted
        else "give a folder that was saved whole"
    )
    return (
        f"the weights of a loaded {part or 'model'} must all be there, but {place!r} {has.format(len(keys))} of its {kind}, "
        f"first {keys[0]}; {remedy}"
    )
