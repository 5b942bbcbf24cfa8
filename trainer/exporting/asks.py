"""A model's prediction as a weighted sum of what its networks are asked: guidance and composition are linear in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dualsweep.trainer.models.composed import Composed
from dualsweep.trainer.models.predictor import Predictor


@dataclass(frozen=True)
class Ask:
    """A share of the prediction: a network with its condition, or with the one that stands for none."""

    weight: float
    model: Predictor
    without: bool = False

    def written(self, names: Mapping[int, str]) -> dict[str, Any]:
        """The form in which `pipeline.py` reads it; `names` are those of the networks, by their `id`."""
        plain: dict[str, Any] = {"network": names[id(self.model.inner)], "weight": self.weight}
        condition = self.model.condition
        if condition is None:
            return plain
        if condition.texts and condition.of_examples != "labels":
            return {**plain, "prompts": list(condition.texts), "negative": condition.negative, "without": self.without}
        labels = condition.get_buffer(f"{'without' if self.without else 'given'}_class_labels").tolist()
        return {**plain, "labels": labels, "classes": list(condition.texts) if not self.without else []}


def asks_of(model: Predictor, *, guided: bool) -> list[Ask]:
    """What the prediction of `model` is the sum of, or its guided prediction."""
    if isinstance(model, Composed):
        return _of_composed(model, guided=guided)
    return _led(model, model.guidance if guided else 1.0)


def _led(model: Predictor, scale: float) -> list[Ask]:
    """without + w (given - without)."""
    if scale == 1.0 or model.condition is None:
        return [Ask(1.0, model)]
    return [Ask(scale, model), Ask(1 - scale, model, without=True)]


def _of_composed(model: Composed, *, guided: bool) -> list[Ask]:
    """The weighted parts; under guidance of their own led away from the base, or from each part's unconditional prediction."""
    shares = {name: share for name, share in model.shares.items() if share > 0}
    if not guided or model.scale is None:
        return [each for name, share in shares.items() for each in _times(share, asks_of(model.parts[name], guided=guided))]
    if model.base is None:
        return [each for name, share in shares.items() for each in _times(share, _led(model.parts[name], model.scale))]
    led = [each for name, share in shares.items() for each in _times(share, asks_of(model.parts[name], guided=False))]
    return [*_times(model.scale, led), *_times(1 - model.scale, asks_of(model.base, guided=False))]


def _times(factor: float, asks: list[Ask]) -> list[Ask]:
    return [replace(each, weight=factor * each.weight) for each in asks]
