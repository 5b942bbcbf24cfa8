"""The sweep as a user writes it: what to vary over one recipe, by which sampler, how often, and where it is tracked."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, FiniteFloat, model_validator

from trainer.recipe import Name, Resources, Section
from trainer.schema.base import Count, Positive

Direction = Literal["minimize", "maximize"]
SamplerName = Literal["tpe", "nsga2", "gp", "random", "quasi_random", "grid", "dual_informed"]
#: MLflow's rule for the names of metrics.
MetricName = Annotated[str, Field(pattern=r"^[\w .:/-]+$", max_length=250)]


class Sampler(Section):
    """How the next trial is placed."""

    name: SamplerName = Field("tpe", description="the sampler", examples=["tpe"])
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="the seed of the sampler", examples=["0"])
    tolerance: Annotated[FiniteFloat, Field(ge=0)] | None = Field(
        None,
        description="`dual_informed` only: ends the sweep when the band is narrower than this part of the front's range; "
        "left out, 0.05",
        examples=["0.05"],
    )

    @model_validator(mode="after")
    def _tolerates_what_it_knows(self) -> Self:
        if self.tolerance is not None and self.name != "dual_informed":
            raise ValueError(
                f"`tolerance` must go with the sampler dual_informed, which knows a band, but got {self.name}; drop it, or "
                "write name: dual_informed"
            )
        return self


def _named(value: Any) -> Any:
    """`sampler: tpe` is short for `sampler: {name: tpe}`."""
    return {"name": value} if isinstance(value, str) else value


class Continuation(Section):
    """Trials that start from their nearest finished neighbour, and what these take in place of the recipe's own."""

    steps: Count | None = Field(None, description="primal steps; left out, a quarter of train.steps", examples=["150"])
    dual_step: Positive | None = Field(
        None, examples=["4.0"],
        description="a factor on dual.step_size; left out, as much as the steps are fewer, so that the multipliers can go as far",
    )  # fmt: skip
    lr: Positive = Field(0.5, description="a factor on train.lr", examples=["0.5"])


def _switched(value: Any) -> Any:
    """`continuation: true` is short for a section of defaults, `false` for none."""
    return {True: {}, False: None}[value] if isinstance(value, bool) else value


class Tracking(Section):
    """Where MLflow keeps the sweep."""

    tracking_uri: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="the tracking URI; left out, it is MLFLOW_TRACKING_URI where set, else mlflow.db in the working directory",
        examples=["sqlite:///mlflow.db"],
    )
    experiment: Annotated[str, Field(min_length=1, max_length=500)] | None = Field(
        None, description="the experiment; left out, it has the sweep's name", examples=["digits-minority"]
    )


class Sweep(Section):
    """A sweep over one recipe."""

    name: Name = Field(description="a name of letters, digits, `_` and `-`", examples=["digits-minority"])
    recipe: str | dict[str, Any] = Field(
        description="the path of a recipe, from the sweep's own folder, or a whole recipe in place",
        examples=["recipes/digits.yaml"],
    )
    search: dict[str, Any] = Field(
        min_length=1, description="recipe keys and how each is varied", examples=["{dual.step_size: {log_uniform: [0.003, 0.3]}}"]
    )
    objectives: dict[MetricName, Direction] | None = Field(
        None, min_length=1, description="metrics to minimise or maximise, by their MLflow names",
        examples=["{objective: minimize, value/max: minimize}"],
    )  # fmt: skip
    sampler: Annotated[Sampler, BeforeValidator(_named)] = Field(
        Sampler(), description="how trials are placed", examples=["{name: tpe, seed: 0}"]
    )
    continuation: Annotated[Continuation | None, BeforeValidator(_switched)] = Field(
        None,
        description="`true` or a section: trials start from their nearest finished neighbour in the space of budgets",
        examples=["true"],
    )
    trials: Count = Field(description="the number of trials", examples=["12"])
    seeds: Count = Field(
        1,
        description="trainings of each trial, alike but for their seeds (the recipe's and those after it): its figures are means",
        examples=["3"],
    )
    resources: Resources | None = Field(
        None, description="what one trial takes; keys given here stand above the recipe's", examples=["{workers: 1}"]
    )
    concurrency: Count | None = Field(
        None, description="trials at a time, at most; left out, as many as the cluster holds", examples=["2"]
    )
    mlflow: Tracking = Field(
        Tracking(), description="where MLflow keeps the sweep", examples=["{tracking_uri: sqlite:///mlflow.db}"]
    )
    reference_point: list[FiniteFloat] | None = Field(
        None, description="the hypervolume's reference point, one number for each objective", examples=["[1.0, 0.3]"]
    )
    set: dict[str, Any] = Field({}, description="recipe keys with a fixed value", examples=["{train.steps: 300}"])
