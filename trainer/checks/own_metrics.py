"""A user's metrics, asked before any training with examples in place of samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dualsweep.trainer.data.splits import Assembled
from dualsweep.trainer.errors import BadPartError
from dualsweep.trainer.evaluation.evidence import Evidence
from dualsweep.trainer.evaluation.judge_protocol import Judge
from dualsweep.trainer.evaluation.metrics import SHIPPED, check_keys, measure
from dualsweep.trainer.metric_names import EVALUATION
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.sources.build import variants_of


class OwnMetrics:
    """The metrics of a recipe that are a user's, asked one after another."""

    def __init__(self, recipe: Recipe, data: Assembled, judge: Callable[[], Judge | None]) -> None:
        self._recipe, self._data, self._judge = recipe, data, judge
        self._keys: dict[str, list[str]] = {}
        self.names = [(at, name) for at, name in enumerate(recipe.evaluation.metrics) if name not in SHIPPED]

    def ask(self, name: str, few: int, many: int) -> None:
        """On `few` samples; one that fails there, where it may need more, is asked on as many as a run draws, `many` at most.

        Raises:
            TrainingError: it fails, returns something else than a metric does, or keys that another one has.
        """
        try:
            measured = measure(self._evidence(few), [name])
        except BadPartError:
            measured = measure(self._evidence(min(many, max(few, self._recipe.evaluation.samples))), [name])
        keys = [key.removeprefix(EVALUATION) for key in measured.values]
        check_keys(name, keys, self._recipe.evaluation.metrics, self._keys)
        self._keys[name] = keys

    def _evidence(self, count: int) -> Evidence:
        everything = self._data.split.examples
        samples = everything.fetch(np.resize(np.arange(len(everything)), count))
        return Evidence.of(samples, self._data, self._judge(), variants_of(self._recipe))
