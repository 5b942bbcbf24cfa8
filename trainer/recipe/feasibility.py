"""When a constraint counts as met."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from dualsweep.trainer.recipe.base import Count, Name, NotNegative, Section


class Feasibility(Section):
    """When a constraint counts as met, when as violated, and how many draws may be taken to tell (docs/recipe.md)."""

    confidence: Annotated[FiniteFloat, Field(gt=0.5, lt=1)] = Field(
        0.95, description="the confidence with which a trial is called met or violated", examples=["0.95"]
    )
    tolerance: NotNegative | dict[Name, NotNegative] | None = Field(
        None, description="by how much a value may miss its budget and count as met: one number, or numbers by constraint; by "
        "default 2 % of the searched range (of a logarithmic one, of the trial's own budget), else of the budget; of a "
        "normalised reward 0.05; of a budget of 0 relative to the objective, 1 % of the objective",
        examples=["{four: 0.002}"],
    )  # fmt: skip
    draws: Count | None = Field(
        None, description="draws in all, over all final values together, that may be taken until every constraint is decided; by "
        "default 1.5 x train.steps x train.batch_size, of trajectories train.steps x rollout.batch_size",
        examples=["100000"],
    )  # fmt: skip
    on: Literal["training", "held_out"] = Field(
        "training", description="the data on which constraints are judged: those trained on, or those of `data.holdout`",
        examples=["held_out"],
    )  # fmt: skip
