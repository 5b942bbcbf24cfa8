"""What a loaded network is conditioned on: embeddings of prompts, or a class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from dualsweep.trainer.checks.model_files import unsupported
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.kinds import TEXT_NETWORKS, is_a
from dualsweep.trainer.models.labels import check_guidance, no_class, number_of_classes, of_classes
from dualsweep.trainer.models.predictor import Condition
from dualsweep.trainer.models.text import Encoders, text_condition
from dualsweep.trainer.recipe.model import Model


def condition_of(
    spec: Model, network: nn.Module, parts: dict[str, Any], encoders: Encoders, captions: Sequence[str] = ()
) -> Condition | None:
    """The condition of `network` as `spec` asks; `parts` are the entries of the pipeline's index, by name.

    `captions` are those of the data, for a `spec` that asks for them.

    Raises:
        TrainingError: the network must be given a prompt or class and is not, or is given one that it does not take.
    """
    odd = unsupported(getattr(network, "config", {})) if not is_a(network, *TEXT_NETWORKS) else None
    if odd is not None:
        raise TrainingError(
            f"a loaded network must be one of (x, t), with a text or a class at most, but {spec.load} has {odd}, which is not "
            "supported; use another model"
        )
    if is_a(network, *TEXT_NETWORKS):
        captioned = spec.condition == "captions"
        _check_text(spec, captions if captioned else spec.texts)
        condition = text_condition(spec, network, parts, encoders, captions if captioned else ())
    elif (classes := number_of_classes(network)) is not None:
        condition = _label(spec, network, classes)
    else:
        for key in ("prompt", "prompts", "label", "negative_prompt", "guidance"):
            if getattr(spec, key) is not None:
                raise TrainingError(
                    f"a model's `{key}` must go with a conditional network, but {spec.load} holds an unconditional "
                    f"{type(network).__name__}; drop `{key}`"
                )
        return None
    check_guidance(spec, condition)
    return condition


def _check_text(spec: Model, texts: Sequence[str]) -> None:
    if spec.label is not None:
        raise TrainingError(
            f"a model's `label` must go with a class-conditional network, but {spec.load} takes text; write prompt"
        )
    if not texts:
        raise TrainingError(
            f"a text-to-image model must have a `prompt`, but got none for {spec.load}; write e.g. prompt: an apple"
        )
    if spec.negative_prompt is not None and spec.guidance in (None, 1.0):
        raise TrainingError(
            f"a model's `negative_prompt` must go with guidance, but got {spec.negative_prompt!r} without; "
            "write e.g. guidance: 5.0"
        )


def _label(spec: Model, network: nn.Module, classes: int) -> Condition:
    if spec.texts or spec.negative_prompt is not None:
        raise TrainingError(f"a model's `prompt` must go with a text-to-image model, but {spec.load} takes classes; write label")
    if spec.label is None or spec.label >= classes:
        raise TrainingError(
            f"a class-conditional model must have a `label` from 0 to {classes - 1}, but got {spec.label} for {spec.load}; "
            "change it"
        )
    return of_classes([spec.label], no_class(network, classes))
