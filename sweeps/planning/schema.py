"""The sweep as a user writes it: what to vary over one recipe, by which sampler, how often, and where it is tracked."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, FiniteFloat, model_validator

from dualsweep.sweeps.planning.preferring import MetricName, Prefer
from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.recipe.amortised import Amortised
from dualsweep.trainer.recipe.base import Count, Name, Positive, Section
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.recipe.run import Resources

Direction = Literal["minimize", "maximize"]
SamplerName = Literal["tpe", "nsga2", "gp", "random", "quasi_random", "grid", "dual_informed"]
#: A continued trial takes one part in so many of the recipe's steps, unless the sweep says how many (docs/sweep.md).
PART = 3


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
            raise RuleError(
                "tolerance",
                "must go with the sampler dual_informed, which knows a band",
                self.name,
                "drop it, or write name: dual_informed",
            )
        return self


def _named(value: Any) -> Any:
    """`sampler: tpe` is short for `sampler: {name: tpe}`."""
    return {"name": value} if isinstance(value, str) else value


class Continuation(Section):
    """Trials that start from their nearest finished neighbour, and what these take in place of the recipe's own."""

    steps: Count | None = Field(None, description="primal steps; left out, a third of train.steps", examples=["150"])
    dual_step: Positive | None = Field(
        None, examples=["4.0"],
        description="a factor on dual.step_size; left out, as much as the steps are fewer, so that the multipliers can go as far",
    )  # fmt: skip
    lr: Positive = Field(0.5, description="a factor on train.lr", examples=["0.5"])

    def steps_of(self, recipe: Recipe) -> int:
        """The primal steps of a continued trial of this recipe: whole dual steps, never more than the recipe's own."""
        every = recipe.dual.every
        wanted = recipe.train.steps / PART if self.steps is None else self.steps
        return min(recipe.train.steps, math.ceil(wanted / every) * every)


class AmortisedRun(Amortised):
    """The amortised training beside a sweep's trials: the base recipe over a range of multipliers (docs/amortised.md)."""

    steps: Count | None = Field(
        None, description="its primal steps; left out, three times the recipe's", examples=["4500"]
    )  # fmt: skip


def _switched(value: Any) -> Any:
    """`true` is short for a section with its defaults, `false` for none."""
    return ({} if value else None) if isinstance(value, bool) else value


class Dominated(Section):
    """Stops a trial whose best credible end is dominated by a finished feasible trial."""

    confidence: Annotated[FiniteFloat, Field(ge=0.5, lt=1)] = Field(
        0.95, description="how sure that must be, over all objectives together", examples=["0.95"]
    )


class Halving(Section):
    """Asynchronous successive halving: at each rung the best part of the trials recorded there goes on."""

    reduction: Annotated[int, Field(ge=2)] = Field(3, description="one in so many goes on at a rung", examples=["3"])
    first: Annotated[FiniteFloat, Field(gt=0, lt=1)] = Field(
        0.2,
        description="the first rung, as a share of a trial's steps; each next one is `reduction` times as far",
        examples=["0.2"],
    )


class EarlyStopping(Section):
    """Which rules may stop a trial before its last step; a rule that is not named is off."""

    infeasible: bool = Field(
        False, description="stops a trial that cannot meet a constraint within the steps that are left", examples=["true"]
    )
    dominated: Annotated[Dominated | None, BeforeValidator(_switched, json_schema_input_type=bool | Dominated | None)] = Field(
        None,
        description="stops a trial that a finished one dominates; `true` takes its defaults",
        examples=["{confidence: 0.95}"],
    )
    halving: Annotated[Halving | None, BeforeValidator(_switched, json_schema_input_type=bool | Halving | None)] = Field(
        None,
        description="stops all but the best at a few rungs; `true` takes its defaults",
        examples=["{reduction: 3, first: 0.2}"],
    )

    @model_validator(mode="after")
    def _stops_something(self) -> Self:
        if not (self.infeasible or self.dominated or self.halving):
            raise RuleError("", "a section must turn on a rule", "none", "name infeasible, dominated or halving, or drop it")
        return self


def _sure_or_none(value: Any) -> Any:
    """`early_stopping: true` is the rules that know what they stop: `halving` also stops trials that the front would have had."""
    return {"infeasible": True, "dominated": {}} if value is True else _switched(value)


class Front(Section):
    """Which budgets decide what may be on the front."""

    require: Literal["fixed", "all"] = Field(
        "fixed",
        description="`fixed`: where what searched budgets bound are objectives, only the budgets that are not searched "
        "decide, else all; `all`: all decide always",
        examples=["all"],
    )


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
    trajectories: bool = Field(
        True,
        description="true to draw each run's `trajectories.png`, its multipliers and slacks: some 0.1 CPU seconds a trial",
        examples=["false"],
    )


class WarmStart(Section):
    """Another sweep, whose finished trials the sampler begins with: its output folder, or its study."""

    output: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="the sweep's output folder; a text in place of the section is short for it", examples=["runs/earlier"]
    )
    storage: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="or the storage of its study", examples=["sqlite:///study.db"]
    )
    study: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="the study's name there; left out, the only one", examples=["digits-minority"]
    )

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        self.exactly_one("output", "storage")
        if self.study is not None and self.storage is None:
            raise RuleError("study", "must go with `storage`", f"output: {self.output!r}", "drop it, or write the storage")
        return self

    @property
    def name(self) -> str:
        """How people read of it."""
        return self.output or f"{masked(self.storage or '')} {self.study or ''}".strip()


_Text = Annotated[str, Field(min_length=1)]


def _placed(value: Any) -> Any:
    """`warm_start: [runs/earlier]` is short for `warm_start: [{output: runs/earlier}]`."""
    return {"output": value} if isinstance(value, str) else value


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
    sampler: Annotated[Sampler, BeforeValidator(_named, json_schema_input_type=SamplerName | Sampler)] = Field(
        Sampler(), description="how trials are placed", examples=["{name: tpe, seed: 0}"]
    )
    continuation: Annotated[
        Continuation | None, BeforeValidator(_switched, json_schema_input_type=bool | Continuation | None)
    ] = Field(
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
    early_stopping: Annotated[
        EarlyStopping | None, BeforeValidator(_sure_or_none, json_schema_input_type=bool | EarlyStopping | None)
    ] = Field(
        None,
        description="rules that stop trials before their last step; `true`: infeasible and dominated; left out, none",
        examples=["{infeasible: true}"],
    )
    amortised: Annotated[
        AmortisedRun | None, BeforeValidator(_switched, json_schema_input_type=bool | AmortisedRun | None)
    ] = Field(
        None, description="true, or settings, to also train one network for the whole front, before the trials",
        examples=["true"],
    )  # fmt: skip
    resources: Resources | None = Field(
        None, description="what one trial takes; keys given here stand above the recipe's", examples=["{workers: 1}"]
    )
    concurrency: Count | None = Field(
        None, description="trials at a time, at most; left out, as many as the cluster holds", examples=["2"]
    )
    hosting: Literal["warm", "fresh"] = Field(
        "warm",
        description="`warm`: processes take one training after another, which start at once; `fresh`: each training has its own",
        examples=["fresh"],
    )
    mlflow: Tracking = Field(
        Tracking(), description="where MLflow keeps the sweep", examples=["{tracking_uri: sqlite:///mlflow.db}"]
    )
    storage: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="where Optuna keeps the study: a journal's path, sqlite:///study.db, or another database's URL; left out, "
        "study.journal in the output folder",
        examples=["sqlite:///study.db"],
    )
    points: list[dict[str, Any]] = Field(
        [], description="values of searched parameters to try first, in this order; those left out are the sampler's",
        examples=["[{dual.step_size: 0.01}]"],
    )  # fmt: skip
    warm_start: list[Annotated[WarmStart, BeforeValidator(_placed, json_schema_input_type=_Text | WarmStart)]] = Field(
        [], description="other sweeps over the same parameters, whose finished trials the sampler begins with",
        examples=["[runs/earlier]"],
    )  # fmt: skip
    front: Front = Field(Front(), description="which budgets decide what may be on the front", examples=["{require: all}"])
    reference_point: list[FiniteFloat] | None = Field(
        None, description="the hypervolume's reference point, one number for each objective", examples=["[1.0, 0.3]"]
    )
    prefer: Prefer | None = Field(
        None, description="which point of the front to recommend beside its knee",
        examples=["{weights: {objective: 1, value/max: 2}}"],
    )  # fmt: skip
    set: dict[str, Any] = Field({}, description="recipe keys with a fixed value", examples=["{train.steps: 300}"])
