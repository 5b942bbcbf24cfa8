"""Where a trial starts, as the study keeps it, and the recipe that it then has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from dualsweep.sweeps.planning.schema import Continuation
from dualsweep.trainer.config.yaml_file import Document, validate
from dualsweep.trainer.recipe.recipe import Recipe

#: The study's user attribute of a trial that holds its start.
ATTRIBUTE = "dualsweep.start"


@dataclass(frozen=True)
class TrialStart:
    """A trial's neighbour, the checkpoints of its trainings by their seeds, and the first multipliers by constraint.

    Without a neighbour the trial starts anew.
    """

    trial: str | None = None
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    multipliers: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The form of the attribute."""
        return {"trial": self.trial, "checkpoints": dict(self.checkpoints), "multipliers": dict(self.multipliers)}

    def checkpoint(self, seed: int | None) -> str:
        """The checkpoint of the neighbour's training with this seed; where there is none of it, the first one."""
        return self.checkpoints.get(_key(seed)) or next(iter(self.checkpoints.values()))

    @classmethod
    def of(cls, trial: str, checkpoints: Mapping[int | None, str], multipliers: Mapping[str, float]) -> Self:
        """A start from the trainings of a trial, by their seeds; None where the trial is one training."""
        return cls(trial, {_key(seed): each for seed, each in checkpoints.items()}, multipliers)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Reads the attribute."""
        return cls(**plain)


@dataclass(frozen=True)
class ProposedTrial:
    """A trial to run: its number, from 0, the value of every parameter by name, and its start once that is decided."""

    number: int
    params: dict[str, Any]
    start: TrialStart | None = None


def _key(seed: int | None) -> str:
    return "" if seed is None else str(seed)


def continued_dual_step(recipe: Recipe, continuation: Continuation) -> float:
    """The factor on a continued trial's dual step size."""
    return continuation.dual_step or recipe.train.steps / continuation.steps_of(recipe)


def begun_recipe(recipe: Recipe, continuation: Continuation | None, begun: TrialStart | None, seed: int | None = None) -> Recipe:
    """A trial's recipe with its start; what counts in steps shrinks with them, so a short run has the shape of a long one.

    Raises:
        InputError: the start makes no valid recipe.
    """
    if continuation is None or begun is None or begun.trial is None:
        return recipe
    plain = recipe.model_dump()
    train, dual = plain["train"], plain["dual"]
    steps = continuation.steps_of(recipe)
    share = steps / recipe.train.steps
    train |= {"steps": steps, "lr": train["lr"] * continuation.lr, "lr_warmup": round(share * train["lr_warmup"])}
    dual["warmup"] = round(share * dual["warmup"])
    size, factor = dual["step_size"], continued_dual_step(recipe, continuation)
    dual["step_size"] = {name: factor * each for name, each in size.items()} if isinstance(size, dict) else factor * size
    plain["start"] = {"from": begun.checkpoint(seed), "multipliers": dict(begun.multipliers)}
    return validate(Recipe, Document("continuation", plain))
