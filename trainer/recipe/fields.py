"""The fields of a recipe, without the rules across them: what those rules, and whatever needs several sections, are written for.

Each part owns its section; the text under a field is what errors and the guide show.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated, Any, NamedTuple, Self

from pydantic import Field, create_model, model_validator

from dualsweep.trainer.config.diagnostics import Keys, RuleError, dotted
from dualsweep.trainer.recipe.amortised import Amortised
from dualsweep.trainer.recipe.base import Name, Section
from dualsweep.trainer.recipe.bound import Bound
from dualsweep.trainer.recipe.data import Data, Subset
from dualsweep.trainer.recipe.dual import Dual
from dualsweep.trainer.recipe.evaluation import Evaluation
from dualsweep.trainer.recipe.feasibility import Feasibility
from dualsweep.trainer.recipe.formulation import SHAPES, Formulation
from dualsweep.trainer.recipe.model import Model, Schedule
from dualsweep.trainer.recipe.monitor import Monitor
from dualsweep.trainer.recipe.product import Product
from dualsweep.trainer.recipe.rollout import Rollout
from dualsweep.trainer.recipe.run import Checkpoint, Resources
from dualsweep.trainer.recipe.sampling import Sampling
from dualsweep.trainer.recipe.start import Start
from dualsweep.trainer.recipe.term_spec import SamplesOf, Source, TermSpec
from dualsweep.trainer.recipe.train import Train
from dualsweep.trainer.samplers.registry import SAMPLERS
from dualsweep.trainer.terms.own import OwnTerm
from dualsweep.trainer.terms.registry import TERMS


class Named(NamedTuple):
    """A term of a recipe: its place among the expectations (0: the objective), where it stands, what it is, its value."""

    column: int
    keys: Keys
    term: TermSpec
    value: Any

    @property
    def where(self) -> str:
        return dotted(self.keys)


class _Words(Section):
    """The words of all terms as keys, of which exactly one is given."""

    @property
    def named(self) -> tuple[TermSpec, Any]:
        """The term that is named, and its value."""
        term, value = next((term, getattr(self, word)) for word, term in TERMS.items() if getattr(self, word) is not None)
        return value.named if isinstance(value, OwnTerm) else (term, value)


_Terms: type[_Words] = create_model(
    "_Terms",
    __base__=_Words,
    **{
        word: (term.value | None, Field(None, description=term.description, examples=[term.example]))
        for word, term in TERMS.items()
    },
)  # type: ignore[call-overload]  # the fields are known only when the terms have been found


class Objective(_Terms):
    """What is minimised, or where it says so maximised: exactly one term."""

    maximize: bool = Field(False, description="whether the objective, a reward, is maximised", examples=["true"])

    @model_validator(mode="after")
    def _one(self) -> Self:
        self.exactly_one(*TERMS)
        return self


class Constraint(Bound, _Terms):
    """One requirement on the expectation of exactly one term: `at_most`, `at_least` or `equals` (docs/method.md)."""

    name: Name = Field(
        description="a name of letters, digits, `_` and `-`", examples=["four"], json_schema_extra={"not": {"const": "max"}}
    )

    @model_validator(mode="after")
    def _free_name(self) -> Self:
        if self.name == "max":
            raise RuleError(
                "name", "must not be a reserved word", "'max'", "`value/max` is the largest value: write another name"
            )
        self.exactly_one(*TERMS)
        return self


class RecipeFields(Section):
    """All sections of a recipe, each checked alone."""

    name: Name = Field(description="a name of letters, digits, `_` and `-`", examples=["digits-minority"])
    formulation: Formulation = Field(description="the formulation", examples=["constrained_training"])
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="the seed of every random draw", examples=["0"])
    model: Model = Field(description="the model", examples=["{unet: {channels: [16, 32]}}"])
    schedule: Schedule | None = Field(None, description="the noise schedule", examples=["{timesteps: 200}"])
    models: dict[Name, Model] = Field(
        {}, description="frozen models by name; `pretrained` is the model as it is before training, unless it is given here",
        examples=["{a: {load: models/a}, b: {call: my_models:b}}"],
    )  # fmt: skip
    data: Data | None = Field(None, description="the training data", examples=["{source: digits}"])
    objective: Objective | None = Field(
        None, description="what is minimised; the formulation's own unless given", examples=["{path_kl: {to: pretrained}}"]
    )
    constraints: list[Constraint] = Field([], description="the constraints", examples=["[{name: four, data: …, at_most: 0.12}]"])
    dual: Dual = Field(Dual(), description="how the multipliers move", examples=["{step_size: 0.03}"])
    amortised: Amortised | None = Field(
        None, description="one network for a whole range of multipliers, in place of dual ascent",
        examples=["{multipliers: {low: 0.003, high: 3.0}}"],
    )  # fmt: skip
    train: Train = Field(description="the primal", examples=["{steps: 1500}"])
    start: Start | None = Field(
        None, description="a run of ours to start from, in place of the model's own weights", examples=["{from: runs/digits}"]
    )
    rollout: Rollout = Field(Rollout(), description="sampling while training", examples=["{steps: 15, batch_size: 64}"])
    product: Product = Field(Product(), description="sampling of a product of models", examples=["{samples: 512}"])
    evaluation: Evaluation = Field(Evaluation(), description="what is measured at the end", examples=["{samples: 1000}"])
    monitor: Monitor | None = Field(
        None, description="what is looked at while the training goes on", examples=["{every: 500, samples: 16}"]
    )
    feasibility: Feasibility = Field(
        Feasibility(), description="when a constraint counts as met", examples=["{confidence: 0.95, tolerance: 0.002}"]
    )  # fmt: skip
    resources: Resources = Field(Resources(), description="what one trial takes", examples=["{workers: 1}"])
    checkpoint: Checkpoint = Field(Checkpoint(), description="when a run is saved", examples=["{every: 500}"])

    @property
    def terms(self) -> list[Named]:
        """The objective's term, where there is one, then each constraint's."""
        terms = []
        objective = self.objective or SHAPES[self.formulation].objective
        if objective is not None:
            holder = objective if isinstance(objective, Objective) else Objective.model_validate(objective)
            term, value = holder.named
            terms.append(Named(0, ("objective", term.word), term, value))
        for position, constraint in enumerate(self.constraints):
            term, value = constraint.named
            terms.append(Named(1 + position, ("constraints", position, term.word), term, value))
        return terms

    @property
    def maximizes(self) -> bool:
        """Whether the objective is maximised."""
        return self.objective is not None and self.objective.maximize

    @property
    def normalization_samples(self) -> int:
        """Samples of the pretrained model from which the scales of rewards are taken."""
        return self.rollout.normalization_samples or max(16, 4 * self.evaluation.loss_draws)

    def terms_on(self, source: Source) -> list[Named]:
        """The terms that are evaluated on that source."""
        return [each for each in self.terms if each.term.source == source]

    @property
    def shows_none(self) -> bool:
        """Whether a model of classes is trained on examples without theirs, or comes from a run that may have been.

        They are those of dropout, samples of other models, and examples that functions of one's own bring, which may have none.
        """
        drawn = [each.term.population(each.value) for each in self.terms if each.term.population is not None]
        of_others = any(isinstance(each, SamplesOf) and each.model in self.models for each in drawn)
        brought = any(isinstance(each, Subset) and each.call is not None for each in drawn)
        return self.train.condition_dropout > 0 or self.start is not None or of_others or brought

    @property
    def sampling(self) -> Sampling:
        """How the trained model is sampled."""
        return self.sampling_by(self.evaluation.sampler)

    def sampling_by(self, sampler: str | None) -> Sampling:
        """Sampling by the sampler of that name, by default the one on which the terms are true.

        A model that was aligned along trajectories has its rewards along these, and the weighted score of a product is followed
        without bias by Langevin steps alone.
        """
        sampler_name = sampler or self.evaluation.sampler or self._own_sampler
        told = SAMPLERS[sampler_name].steps
        if isinstance(told, str):
            return Sampling(sampler_name, attrgetter(told)(self), self.rollout.eta, self.product)
        steps = self.evaluation.sample_steps or min(told, (self.schedule or Schedule()).timesteps)
        return Sampling(sampler_name, steps, self.rollout.eta, self.product)

    @property
    def equalities(self) -> frozenset[str]:
        """The names of the constraints with `equals`, of which a slack of either sign is a violation."""
        return frozenset(each.name for each in self.constraints if each.kind == "equals")

    @property
    def _own_sampler(self) -> str:
        if self.terms_on("rollout"):
            return "rollout"
        return "dpmpp_2m" if self.model.compose is None else "langevin"

    @property
    def composed(self) -> list[str]:
        """The names of all the models that a composed model asks; none of another kind."""
        spec = self.model.compose
        return [] if spec is None else list(dict.fromkeys([*spec.of, *([spec.base] if spec.base is not None else [])]))

    @property
    def leading(self) -> Model:
        """The model that tells space, shape and schedule: the model itself, or the first of those that it is composed of."""
        if self.model.compose is None:
            return self.model
        first = self.models.get(self.model.compose.of[0], self.model)
        return first if self.model.shape is None else first.model_copy(update={"shape": self.model.shape})
