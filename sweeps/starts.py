"""Where a trial starts, as the study keeps it, and the recipe that it then has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from sweeps.schema import Continuation
from trainer.recipe import Recipe

#: The study's user attribute of a trial that holds its start.
ATTRIBUTE = "dualsweep.start"
#: The part of the recipe's steps that a continued trial takes unless the sweep says how many (docs/sweep.md, "Continuation").
SHARE = 0.25


@dataclass(frozen=True)
class Begun:
    """Its neighbour's id and checkpoint, and the first multipliers by constraint. Without a neighbour it is cold."""

    trial: str | None = None
    checkpoint: str = ""
    multipliers: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The form of the attribute."""
        return {**asdict(self), "multipliers": dict(self.multipliers)}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Reads the attribute."""
        return cls(**plain)


def continued_steps(recipe: Recipe, continuation: Continuation) -> int:
    """The primal steps of a continued trial: whole dual steps, never more than the recipe's own."""
    every = recipe.dual.every
    wanted = SHARE * recipe.train.steps if continuation.steps is None else continuation.steps
    return min(recipe.train.steps, math.ceil(wanted / every) * every)


def begun_recipe(recipe: Recipe, continuation: Continuation | None, begun: Begun | None) -> Recipe:
    """A trial's recipe with its start; what counts in steps shrinks with them, so a short run has the shape of a long one."""
    if continuation is None or begun is None or begun.trial is None:
        return recipe
    plain = recipe.model_dump()
    train, dual = plain["train"], plain["dual"]
    steps = continued_steps(recipe, continuation)
    share = steps / recipe.train.steps
    train |= {"steps": steps, "lr": train["lr"] * continuation.lr, "lr_warmup": round(share * train["lr_warmup"])}
    dual["warmup"] = round(share * dual["warmup"])
    size = dual["step_size"]
    dual["step_size"] = (
        {name: each * continuation.dual_step for name, each in size.items()}
        if isinstance(size, dict)
        else size * continuation.dual_step
    )
    plain["start"] = {"from": begun.checkpoint, "multipliers": dict(begun.multipliers)}
    return Recipe.model_validate(plain)
