"""The verdicts of a run that has ended, as a record and as the files beside its result."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from dualsweep.sweeps.records.json_form import plain
from dualsweep.trainer import metric_names
from dualsweep.trainer.config import yaml_core
from dualsweep.trainer.metric_names import sure
from dualsweep.trainer.metric_point import MetricPoint
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result
from dualsweep.trainer.storage import write_file
from dualsweep.trainer.verdicts.class_share import class_shares_of
from dualsweep.trainer.verdicts.judge import verdicts
from dualsweep.trainer.verdicts.keys import measured_by
from dualsweep.trainer.verdicts.text import markdown, to_json
from dualsweep.trainer.verdicts.verdict import Verdict, histories_of

#: What is written beside a run's result: the verdicts as data and as a page, and the recipe they are judged with.
VERDICTS, PAGE, RECIPE = "verdicts.json", "explain.md", "recipe.yaml"
Points = Sequence[MetricPoint]


@dataclass(frozen=True)
class Explained:
    """A run that has ended, a verdict for each of its constraints, and of a sweep's trial what its budgets cost."""

    title: str
    result: Result
    recipe: Recipe
    verdicts: list[Verdict]
    prices: tuple[str, ...] = ()
    #: Of a sweep's trial, which budgets likely give the shares of classes that are wanted.
    goals: tuple[str, ...] = ()
    #: All that was reported of it by step, the final evaluation's point last.
    points: Points = field(default=(), repr=False)

    @classmethod
    def of(cls, title: str, points: Points, result: Result, recipe: Recipe) -> Self:
        """From the run's points, the final evaluation's among them."""
        judged = verdicts(histories_of(points), result, recipe.dual, recipe.constraints, measured_by(recipe), recipe.amortised)
        return cls(title, result, recipe, judged, points=points)

    @property
    def objective(self) -> str:
        """The objective with its error, in words; empty where it was not measured."""
        value = self.result.objective
        return "" if math.isnan(value) else f"objective {value:.4g}{sure(metric_names.OBJECTIVE, self.result.metrics)}"

    @property
    def shares(self) -> list[str]:
        """Of each constraint on the loss of some classes, the share of the samples that these have, as sentences."""
        standings = {name: outcome.standing for name, outcome in self.result.constraints.items()}
        return [each.sentence(standings[each.name]) for each in class_shares_of(self.recipe, self.result)]

    def markdown(self, *more: str) -> str:
        """The verdicts as a page, with these lines at its end."""
        result = self.result
        return markdown(self.title, result.status, result.reason, self.verdicts, [*self.shares, *more], self.objective)

    def tags(self) -> dict[str, str]:
        """The words, as tags of an MLflow run."""
        return {f"dualsweep.verdict.{each.name}": each.word for each in self.verdicts}

    def to_json(self) -> list[dict[str, Any]]:
        return to_json(self.verdicts)

    def as_training(self) -> dict[str, Any]:
        """The form of `--json` files of a training (docs/recipe.md)."""
        form: dict[str, Any] = plain({**self.result.to_json(), "verdicts": self.to_json()})
        return form


def write(explained: Explained, folder: Path) -> None:
    """Writes the recipe, and the verdicts as data and as a page."""
    files = {
        RECIPE: yaml_core.write(explained.recipe.model_dump(mode="json")),
        VERDICTS: json.dumps(explained.to_json(), indent=2) + "\n",
        PAGE: explained.markdown(),
    }
    for name, text in files.items():
        write_file(folder / name, text)
