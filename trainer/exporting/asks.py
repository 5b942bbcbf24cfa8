"""A model's prediction as a weighted sum of what its networks are asked: guidance and composition are linear in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from dualsweep.trainer.models.composed import Composed
from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.rng import whose_turn

Text = TypeVar("Text", str, int)


@dataclass(frozen=True)
class Ask:
    """A share of the prediction: a network with its condition, or with the one that stands for none.

    At another guidance w than the model's own its weight is a + b w, with `by_guidance` (a, b); None where nothing leads it.
    """

    weight: float
    model: Predictor
    without: bool = False
    by_guidance: tuple[float, float] | None = None

    def written(self, names: Mapping[int, str]) -> dict[str, Any]:
        """The form in which `pipeline.py` reads it; `names` are those of the networks, by their `id`."""
        plain: dict[str, Any] = {"network": names[id(self.model.inner)], "weight": self.weight}
        if self.by_guidance is not None:
            plain["by_guidance"] = list(self.by_guidance)
        condition = self.model.condition
        if condition is None:
            return plain
        if condition.texts and condition.of_examples != "labels":
            prompts = _in_turn(condition.texts)
            return {**plain, "prompts": prompts, "negative": condition.negative, "without": self.without}
        labels = _in_turn(condition.get_buffer(f"{'without' if self.without else 'given'}_class_labels").tolist())
        return {**plain, "labels": labels, "classes": list(condition.texts) if not self.without else []}


def _in_turn(each: Sequence[Text]) -> list[Text]:
    """In the order of their turns, in which the pipeline goes through them."""
    return [each[place] for place in whose_turn(len(each), np.arange(len(each)))]


def asks_of(model: Predictor, *, guided: bool) -> list[Ask]:
    """What the prediction of `model` is the sum of, or its guided prediction."""
    if isinstance(model, Composed):
        return _of_composed(model, guided=guided)
    return _led(model, model.guidance) if guided else [Ask(1.0, model)]


def _led(model: Predictor, scale: float) -> list[Ask]:
    """without + w (given - without)."""
    if not model.has_unconditional:
        return [Ask(1.0, model)]
    return [Ask(scale, model, by_guidance=(0.0, 1.0)), Ask(1 - scale, model, without=True, by_guidance=(1.0, -1.0))]


def _of_composed(model: Composed, *, guided: bool) -> list[Ask]:
    """The weighted parts; under guidance of their own led away from the base, or from each part's unconditional prediction."""
    shares = {name: share for name, share in model.shares.items() if share > 0}
    if not guided or model.scale is None:
        return [each for name, share in shares.items() for each in _times(share, asks_of(model.parts[name], guided=guided))]
    if model.base is None:
        return [each for name, share in shares.items() for each in _times(share, _led(model.parts[name], model.scale))]
    led = [each for name, share in shares.items() for each in _times(share, asks_of(model.parts[name], guided=False))]
    away = _times(1 - model.scale, asks_of(model.base, guided=False))
    return [
        *(replace(each, weight=model.scale * each.weight, by_guidance=(0.0, each.weight)) for each in led),
        *(replace(each, by_guidance=(1.0, -1.0)) for each in away),
    ]


def _times(factor: float, asks: list[Ask]) -> list[Ask]:
    """The same, of which each counts by this factor, whatever the guidance."""
    return [replace(ask, weight=factor * ask.weight, by_guidance=_scaled(factor, ask.by_guidance)) for ask in asks]


def _scaled(factor: float, by_guidance: tuple[float, float] | None) -> tuple[float, float] | None:
    return by_guidance and (factor * by_guidance[0], factor * by_guidance[1])
