"""Networks that are given the class of every example, and the names of the classes, which a checkpoint keeps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from dualsweep.trainer.checkpoint import locate
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.kinds import is_a
from dualsweep.trainer.models.predictor import Condition
from dualsweep.trainer.recipe.model import Model
from dualsweep.trainer.storage import read_file

#: The file of a checkpoint that names the classes of its network, in order.
CLASSES = "classes.json"
#: The file of a checkpoint with the captions that its network was trained under.
CAPTIONS = "captions.json"


def classes_in(place: str | None) -> tuple[str, ...]:
    """The classes that a checkpoint's network knows; none where it knows none, or `place` is no checkpoint of ours."""
    return _names_in(place, CLASSES)


def captions_in(place: str | None) -> tuple[str, ...]:
    """The captions that a checkpoint's network was trained under; none where there were none, or `place` is no checkpoint."""
    return _names_in(place, CAPTIONS)


def _names_in(place: str | None, file: str) -> tuple[str, ...]:
    checkpoint = locate(place) if place is not None else None
    written = read_file(checkpoint, file) if checkpoint is not None else None
    return tuple(json.loads(written)) if written is not None else ()


def number_of_classes(network: nn.Module) -> int | None:
    """How many classes a network of diffusers knows, that of no class not counted; None for one that knows none."""
    if not is_a(network, "ModelMixin"):  # users' own have configurations of any kind
        return None
    config: Any = network.config
    if config.get("norm_type") == "ada_norm_zero":
        return int(config["num_embeds_ada_norm"])
    return config.get("num_class_embeds") if config.get("class_embed_type") is None else None


def no_class(network: nn.Module, classes: int) -> int | None:
    """The number by which a network of diffusers knows no class; None where it always has one. It drops none itself any more."""
    tables: list[Any] = [each for each in network.modules() if is_a(each, "LabelEmbedding")]
    for table in tables:
        table.dropout_prob = 0.0  # dropping classes at random would make two passes on one state disagree
    return classes if any(table.embedding_table.num_embeddings > classes for table in tables) else None


def of_classes(labels: Sequence[int], none: int | None, *, learned: bool = True, **names: Any) -> Condition:
    """The condition of a network by these numbers of classes [P]; `none` stands for no class, where the network has that.

    Unless that is `learned`, it is for examples of no class alone: what it predicts of them is no unconditional prediction yet.
    """
    row = {"class_labels": torch.tensor([none])} if none is not None else None
    given = {"class_labels": torch.tensor(labels)}
    return Condition(given, row, **names) if learned else Condition(given, none=row, **names)


def check_guidance(spec: Model, condition: Condition) -> None:
    """Raises `TrainingError` where `spec` asks for guidance away from what the network does not know."""
    if spec.guidance in (None, 1.0) or condition.has_unconditional:
        return
    if condition.takes_none:
        raise TrainingError(
            f"a model's `guidance` must go with a network that has learned what is of no class, but got {spec.guidance:g} for "
            "one that was trained without train.condition_dropout; drop it, or train it on with e.g. condition_dropout: 0.1"
        )
    raise TrainingError(
        f"a model's `guidance` must go with a network that also knows no class, but {spec.load} has no such embedding; drop it"
    )


def label_condition(spec: Model, network: nn.Module, names: Sequence[str], learned: bool) -> Condition:
    """The condition of a network by each example's class, of `names`; or by the one class that `spec` asks for.

    Of a network that a recipe has built, or a user's own function, the number after the last class stands for none; `learned`
    says whether what is of none is, or will be, learned.

    Raises:
        TrainingError: there are no classes, or the network knows fewer.
    """
    if len(names) < 2:
        raise TrainingError(
            f"a model with `condition: labels` must have data of two classes or more, but got {len(names)}; drop it, or "
            "label the data"
        )
    known, own = number_of_classes(network), spec.load is None
    if known is not None and len(names) > known - own:
        raise TrainingError(
            f"a model with `condition: labels` must know all classes of the data, {len(names)}, but its network knows "
            f"{known - own}; drop it, or take a network of more classes"
        )
    if known is None and not own:
        raise TrainingError(
            f"a model's `condition: labels` must go with a class-conditional network, but {spec.load} holds a "
            f"{type(network).__name__} without classes; drop it, or start from `unet`"
        )
    dropped = no_class(network, known or 0)  # asked of users' own too, which may be of diffusers and drop classes
    none = len(names) if own else dropped
    if spec.label is None:
        condition = of_classes(range(len(names)), none, learned=learned, texts=names, classes=names, of_examples="labels")
    elif spec.label < len(names):
        condition = of_classes([spec.label], none, learned=learned, classes=names)
    else:
        raise TrainingError(
            f"a model's `label` must be from 0 to {len(names) - 1}, but got {spec.label}; it counts {list(names)}"
        )
    check_guidance(spec, condition)
    return condition
