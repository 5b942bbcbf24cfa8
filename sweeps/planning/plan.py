"""A sweep ready to run: what was written, with everything that follows from it.

Importing this takes no Optuna, MLflow, Ray or torch: bad input is answered at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dualsweep.analysis.requirements import required, unseen
from dualsweep.analysis.tracking_uri import tracking_uri
from dualsweep.analysis.trials import Budget
from dualsweep.sweeps.planning.budgets import NAME, own_tolerances, range_tolerances
from dualsweep.sweeps.planning.early_stopping import applicable
from dualsweep.sweeps.planning.kinds import listed
from dualsweep.sweeps.planning.preferring import preference_of
from dualsweep.sweeps.planning.schema import Direction, EarlyStopping, Sweep
from dualsweep.sweeps.planning.search import Parameter, apply
from dualsweep.sweeps.planning.study_address import storage_url
from dualsweep.trainer import metric_names
from dualsweep.trainer.config.yaml_file import Document, validate
from dualsweep.trainer.recipe.bound import Kind
from dualsweep.trainer.recipe.load import OverlaidDocument, Override
from dualsweep.trainer.recipe.recipe import Recipe

if TYPE_CHECKING:
    from dualsweep.analysis.preference import Preference

#: The steps of an amortised training, in those of one trial, unless the sweep says.
AMORTISED_STEPS = 3


def implied_objectives(recipe: Recipe) -> dict[str, Direction]:
    """Metric → direction where the sweep names none: the objective against what is bounded."""
    objective: dict[str, Direction] = {"objective": "maximize" if recipe.maximizes else "minimize"}
    kinds = {each.name: each.kind for each in recipe.constraints}
    if kinds and set(kinds.values()) == {"at_most"}:
        return {**objective, metric_names.LARGEST_VALUE: "minimize"}
    directions: dict[str, Direction] = {"at_most": "minimize", "at_least": "maximize"}
    bounded = {metric_names.value(name): directions[kind] for name, kind in kinds.items() if kind in directions}
    return {**objective, **bounded}


@dataclass(frozen=True)
class Plan:
    """A checked sweep. `recipe` and `recipe_document` are the base that trials vary, with every fixed value in it.

    `budgets` are those of the `parameters` that bound constraints, in their order. `on_recipe` are the overrides of the recipe's
    keys, which `document` does not have.
    """

    sweep: Sweep
    document: OverlaidDocument
    recipe: Recipe
    recipe_document: OverlaidDocument
    parameters: tuple[Parameter, ...]
    budgets: tuple[Budget, ...]
    on_recipe: tuple[Override, ...] = ()

    @property
    def name(self) -> str:
        return self.sweep.name

    @property
    def objectives(self) -> dict[str, Direction]:
        """Metric → direction, in the order of the file; unless given, those that the recipe implies."""
        return implied_objectives(self.recipe) if self.sweep.objectives is None else self.sweep.objectives

    @property
    def preference(self) -> Preference | None:
        """Which point of the front the user prefers."""
        return preference_of(self.sweep.prefer, list(self.objectives))

    @property
    def constraints(self) -> tuple[str, ...]:
        """The names of the recipe's constraints."""
        return tuple(each.name for each in self.recipe.constraints)

    @property
    def required(self) -> frozenset[str] | None:
        """The constraints whose budgets decide what may be on the front; None where all do."""
        if self.sweep.front.require == "all":
            return None
        return required(self._kinds, self.searched, self.objectives)

    @property
    def deciding(self) -> str:
        """Which budgets decide what may be on the front, in words with the reason."""
        if self.required is not None:
            fixed = ", ".join(f"`{name}`" for name in sorted(self.required))
            who = f"the budgets of {fixed} decide" if fixed else "no budget decides"
            return f"attained: searched budgets are knobs, {who} what may be on it"
        if not self.searched or self.sweep.front.require == "all":
            return "every budget decides what may be on it"
        hidden = ", ".join(f"`value/{name}`" for name in unseen(self._kinds, self.searched, self.objectives))
        return f"every budget decides what may be on it, as no objective is {hidden}, which searched budgets bound"

    @property
    def searched(self) -> frozenset[str]:
        """The constraints whose budgets are searched."""
        return frozenset(name for each in self.budgets for name in each.constraints)

    @property
    def ranges(self) -> tuple[Budget, ...]:
        """The budgets that vary over numbers, which a review draws the front along."""
        return tuple(each for each in self.budgets if each.is_range)

    @property
    def _kinds(self) -> dict[str, Kind]:
        """What each constraint asks."""
        return {each.name: each.kind for each in self.recipe.constraints}

    @property
    def grid_size(self) -> int | None:
        """The number of points of a grid; None where a key is continuous."""
        sizes = [listed(each.kind) for each in self.parameters]
        return math.prod(len(each) for each in sizes if each is not None) if None not in sizes else None

    @property
    def trials(self) -> int:
        """The number of trials that will run: those asked for, or with the sampler `grid` its points where they are fewer."""
        if self.sweep.sampler.name == "grid" and self.grid_size is not None:
            return min(self.sweep.trials, self.grid_size)
        return self.sweep.trials

    @property
    def seeds(self) -> tuple[int | None, ...]:
        """The seeds of a trial's trainings, from the recipe's own on; (None,) where a trial is one training."""
        if self.sweep.seeds == 1:
            return (None,)
        return tuple(range(self.recipe.seed, self.recipe.seed + self.sweep.seeds))

    @property
    def early_stopping(self) -> EarlyStopping | None:
        """The rules that may stop a trial, of those asked for; None where nothing may."""
        asked = self.sweep.early_stopping
        return applicable(asked, self.recipe, list(self.objectives)) if asked is not None else None

    @property
    def amortised_recipe(self) -> Recipe | None:
        """The recipe of the sweep's amortised training, in whole dual steps; None where there is none."""
        spec = self.sweep.amortised
        if spec is None:
            return None
        every = self.recipe.dual.every
        steps = -(-(spec.steps or AMORTISED_STEPS * self.recipe.train.steps) // every) * every
        laid = {
            "amortised": spec.model_dump(exclude={"steps"}),
            "train": {**self.recipe.train.model_dump(), "steps": steps},
            "feasibility": self._with_tolerances(self.recipe.feasibility.model_dump()),
        }
        return Recipe.model_validate({**self.recipe.model_dump(), **laid})

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about a valid plan."""
        if self.sweep.sampler.name == NAME:
            return ("budgets are placed by the trials' multipliers; the sweep may end before, where the front's band is narrow",)
        grid = self.grid_size if self.sweep.sampler.name == "grid" else None
        if grid is None or grid == self.sweep.trials:
            return ()
        if grid < self.sweep.trials:
            return (f"the grid has {grid} points: {grid} trials run, not {self.sweep.trials}",)
        return (f"the grid has {grid} points: {self.sweep.trials} of them run, in an order shuffled by the seed",)

    @property
    def tolerances(self) -> dict[str, float]:
        """The tolerances that follow from the searched ranges, by constraint, the same for all trials."""
        return range_tolerances(self.budgets, self.recipe)

    @property
    def own_tolerances(self) -> frozenset[str]:
        """The constraints whose tolerance is a share of each trial's own budget."""
        return own_tolerances(self.budgets, self.recipe)

    @property
    def experiment(self) -> str:
        return self.sweep.mlflow.experiment or self.name

    @property
    def tracking_uri(self) -> str:
        """The tracking URI, whole (see `dualsweep.analysis.tracking_uri`)."""
        return tracking_uri(self.sweep.mlflow.tracking_uri)

    @property
    def storage(self) -> str | None:
        """The URL of the study's storage, its path absolute; None where it is the journal in the output folder."""
        return None if self.sweep.storage is None else storage_url(self.sweep.storage)

    @property
    def points(self) -> list[dict[str, Any]]:
        """What is tried first: for the first trials, values of all or some parameters."""
        return self.sweep.points

    def recipe_data(self, params: Mapping[str, Any]) -> dict[Any, Any]:
        """A trial's recipe as plain data, `params` by their parameters' names, with the sweep's tolerances."""
        data = apply(self.recipe_document.data, params)
        return {**data, "feasibility": self._with_tolerances(data.get("feasibility") or {})} if self.tolerances else data

    def _with_tolerances(self, feasibility: Mapping[str, Any]) -> dict[str, Any]:
        """A recipe's section with the sweep's tolerances in it, below its own: one number is of all constraints."""
        own = feasibility.get("tolerance")
        if not self.tolerances or not (own is None or isinstance(own, Mapping)):
            return dict(feasibility)
        return {**feasibility, "tolerance": {**self.tolerances, **(own or {})}}

    def trial_recipe(self, params: Mapping[str, Any]) -> Recipe:
        """A trial's recipe.

        Raises:
            InputError: these values do not make a valid recipe together, though their ranges' ends do.
        """
        return validate(Recipe, Document(self.recipe_document.file, self.recipe_data(params)))
