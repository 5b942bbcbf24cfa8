"""The recipe: one constrained training as a user writes it. Strict, typed, checked before anything heavy is imported.

Each part owns its section (`trainer/schema/`); the text under a field is what errors and the guide show.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple, Self

from pydantic import BaseModel, Field, create_model, model_validator

from trainer.documents import Keys
from trainer.rewards import Reward
from trainer.schema.balance import check_balance
from trainer.schema.base import ClassName, ImportPath, Name, Section
from trainer.schema.bound import Bound, check_bounds
from trainer.schema.compose import check_compose, check_nothing_trained
from trainer.schema.data import Data, Subset
from trainer.schema.dual import ON_SIMPLEX, Dual
from trainer.schema.evaluation import Evaluation, Judge
from trainer.schema.formulation import SHAPES, Formulation
from trainer.schema.model import Model, Schedule, UNet
from trainer.schema.product import Product
from trainer.schema.rollout import Rollout
from trainer.schema.run import Checkpoint, Resources
from trainer.schema.train import Train
from trainer.schema.word import Everything, Word
from trainer.terms import TERMS

__all__ = [
    "Checkpoint", "ClassName", "Constraint", "Data", "Dual", "Evaluation", "ImportPath", "Judge", "Model", "Name", "Recipe",
    "Resources", "Schedule", "Section", "Subset", "Train", "UNet", "flatten",
]  # fmt: skip


class Named(NamedTuple):
    """A term of a recipe: its place among the expectations (0: the objective), where it stands, what it is, its value."""

    column: int
    keys: Keys
    term: Word
    value: Any


class Sampling(NamedTuple):
    """A sampler, `ddim`, `ddpm`, `rollout` or `langevin`; its number of steps; the noise eta of `rollout`.

    The steps of `langevin` are its noise levels, `product` is how it goes through each.
    """

    sampler: str
    steps: int
    eta: float
    product: Product = Product()


class _Words(Section):
    """The words of all terms as keys, of which exactly one is given."""

    @property
    def term(self) -> tuple[Word, Any]:
        """The term that is named, and its value."""
        return next((term, getattr(self, word)) for word, term in TERMS.items() if getattr(self, word) is not None)


_Terms: type[_Words] = create_model(
    "_Terms",
    __base__=_Words,
    **{
        word: (term.value | None, Field(None, description=term.description, examples=[term.example]))
        for word, term in TERMS.items()
    },
)  # type: ignore[call-overload]  # the fields are known only when the terms have been found


class Objective(_Terms):
    """What is minimised: exactly one term."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        self.exactly_one(*TERMS)
        return self


class Constraint(Bound, _Terms):
    """One requirement on the expectation of exactly one term: `at_most`, `at_least` or `equals` (docs/method.md)."""

    name: Name = Field(description="a name of letters, digits, `_` and `-`", examples=["four"])

    @model_validator(mode="after")
    def _free_name(self) -> Self:
        if self.name == "max":
            raise ValueError(
                "`name` must not be a reserved word, but got 'max'; `value/max` is the largest value: write another name"
            )
        self.exactly_one(*TERMS)
        return self


class Recipe(Section):
    """One constrained training."""

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
    train: Train = Field(description="the primal", examples=["{steps: 1500}"])
    rollout: Rollout = Field(Rollout(), description="sampling while training", examples=["{steps: 15, batch_size: 64}"])
    product: Product = Field(Product(), description="sampling of a product of models", examples=["{samples: 512}"])
    evaluation: Evaluation = Field(Evaluation(), description="what is measured at the end", examples=["{samples: 1000}"])
    resources: Resources = Field(Resources(), description="what one trial takes", examples=["{workers: 1}"])
    checkpoint: Checkpoint = Field(Checkpoint(), description="when a run is saved", examples=["{every: 500}"])

    @property
    def terms(self) -> list[Named]:
        """The objective's term, where there is one, then each constraint's."""
        found = []
        objective = self.objective or SHAPES[self.formulation].objective
        if objective is not None:
            holder = objective if isinstance(objective, Objective) else Objective.model_validate(objective)
            term, value = holder.term
            found.append(Named(0, ("objective", term.word), term, value))
        for position, constraint in enumerate(self.constraints):
            term, value = constraint.term
            found.append(Named(1 + position, ("constraints", position, term.word), term, value))
        return found

    @property
    def sampling(self) -> Sampling:
        """How the trained model is sampled."""
        return self.sampling_by(self.evaluation.sampler)

    def sampling_by(self, sampler: str | None) -> Sampling:
        """Sampling by the sampler of that name, by default the one on which the terms are true.

        A model that was aligned along trajectories has its rewards along these, and the weighted score of a product is followed
        without bias by Langevin steps alone.
        """
        found = sampler or self.evaluation.sampler or self._own_sampler
        steps = {"rollout": self.rollout.steps, "langevin": self.product.levels}.get(found, self.evaluation.sample_steps)
        return Sampling(found, steps, self.rollout.eta, self.product)

    @property
    def _own_sampler(self) -> str:
        if any(each.term.source == "rollout" for each in self.terms):
            return "rollout"
        return "ddim" if self.model.compose is None else "langevin"

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
        first = self.models[self.model.compose.of[0]]
        return first if self.model.shape is None else first.model_copy(update={"shape": self.model.shape})

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        names = [constraint.name for constraint in self.constraints]
        for position, name in enumerate(names):
            if name in names[:position]:
                raise ValueError(f"`constraints.{position}.name` must be unique, but got '{name}' twice; rename one")
        check_bounds(
            {constraint.name: constraint for constraint in self.constraints}, self.dual, SHAPES[self.formulation].simplex
        )
        known = {"pretrained", *self.models}
        for each in self.terms:
            if unknown := [name for name in each.term.models(each.value) if name not in known]:
                where = ".".join(map(str, each.keys))
                raise ValueError(
                    f"`{where}` must name an entry of `models`, but got {unknown[0]!r}; write one of {sorted(known)}"
                )
        return self

    @model_validator(mode="after")
    def _composition_is_of_what_is_there(self) -> Self:
        asked = [(".".join(map(str, each.keys)), each.term.models(each.value)) for each in self.terms if each.column]
        check_compose(self.model, self.models, self.formulation, asked)
        if self.model.compose is None:
            return self
        check_nothing_trained({"train": self.train, "rollout": self.rollout})
        if self.formulation == "concept_composition" and self.evaluation.sampler == "langevin":
            raise ValueError(
                "`evaluation.sampler` must not be langevin for concept_composition, whose guided prediction is no score, but got "
                "it; drop it"
            )
        return self

    @model_validator(mode="after")
    def _terms_fit_the_formulation(self) -> Self:
        shape = SHAPES[self.formulation]
        # Weights that stay equal are the baseline of both kinds, so `fixed` goes with either.
        if shape.simplex != (self.dual.rule in ON_SIMPLEX) and self.dual.rule != "fixed":
            rules = " or ".join((*ON_SIMPLEX, "fixed")) if shape.simplex else "one that is not on the simplex"
            raise ValueError(
                f"`dual.rule` must be {rules} with the formulation {self.formulation}, but got {self.dual.rule}; change one"
            )
        if shape.simplex and self.objective is not None:
            raise ValueError(
                f"`objective` must be left out with the formulation {self.formulation}, which minimises the largest value, "
                "but got one; drop it"
            )
        if self.dual.rule == "newton" and not any(each.term.source == "rollout" for each in self.terms):
            raise ValueError(
                "`dual.rule` must have terms that are measured on the same samples to be newton, but got none on rollouts; "
                "use secant"
            )
        for each in self.terms:
            where = ".".join(map(str, each.keys))
            if each.term.source not in shape.sources:
                words = sorted(word for word, term in TERMS.items() if term.source in shape.sources)
                raise ValueError(
                    f"`{where}` must be a term of the formulation {self.formulation}, but got {each.term.word}; "
                    f"write one of {words}, or formulation: combined"
                )
            if each.term.needs_noise and self.rollout.eta == 0:
                raise ValueError(
                    f"`rollout.eta` must be above 0 with {each.term.word}, which is infinite for a deterministic sampler, "
                    "but got 0; write eta: 1.0"
                )
        if shape.pretrained and self.model.unet is not None and "pretrained" not in self.models:
            raise ValueError(
                f"`model` must be a trained one for the formulation {self.formulation}, but got a new unet; "
                "write model.load or model.call, or give `models.pretrained`"
            )
        objectives = [each.term.population(each.value) for each in self.terms if each.column == 0 and each.term.population]
        if self.data is not None and self.data.balance and not any(isinstance(each, Everything | Subset) for each in objectives):
            raise ValueError(
                "`data.balance` must go with an objective on data, but got none; drop it, or write e.g. "
                "objective: {data: {all: true}}"
            )
        objective = next((each.term for each in self.terms if each.column == 0), None)
        constraints = [(each.term, self.constraints[each.column - 1]) for each in self.terms if each.column]
        check_balance(self.rollout, objective, constraints, self.dual)
        populations = [each.term.population(each.value) for each in self.terms if each.term.population is not None]
        if self.data is None and any(isinstance(each, Everything | Subset) for each in populations):
            raise ValueError("`data` must be given for terms on data, but got nothing; write e.g. data: {source: digits}")
        if self.data is None and not self.leading.shape and self.leading.load is None:
            raise ValueError("`model.shape` must be given where there is no data, but got nothing; write e.g. shape: [2]")
        return self

    @model_validator(mode="after")
    def _samplers_fit_the_schedule(self) -> Self:
        if self.schedule is None and self.leading.load is not None:
            return self  # the loaded model's own is known only then
        timesteps = (self.schedule or Schedule()).timesteps
        rolled = any(each.term.source == "rollout" for each in self.terms)
        for key, steps, used in (
            (
                "evaluation.sample_steps",
                self.evaluation.sample_steps,
                self.evaluation.samples and self.sampling.sampler in ("ddim", "ddpm"),
            ),
            ("rollout.steps", self.rollout.steps, rolled),
        ):
            if used and steps > timesteps:
                raise ValueError(f"`{key}` must be at most schedule.timesteps, {timesteps}, but got {steps}; lower it")
        return self

    @model_validator(mode="after")
    def _batch_and_steps_fit(self) -> Self:
        on_data = [each for each in self.terms if each.term.source == "data"]
        needed = sum(1 if each.keys[0] == "objective" else self.train.floor for each in on_data)
        if self.train.batches == "mixture" and self.train.batch_size < needed:
            raise ValueError(
                f"`train.batch_size` must be at least 1 + constraints x floor = {needed}, but got {self.train.batch_size}; "
                "enlarge the batch, or lower train.floor"
            )
        if self.train.steps % self.dual.every:
            raise ValueError(
                f"`train.steps` must be a multiple of dual.every, but got {self.train.steps} with every {self.dual.every}; "
                f"write {-(-self.train.steps // self.dual.every) * self.dual.every}"
            )
        rolled = any(each.term.source == "rollout" for each in self.terms)
        for key, size, used in (("train", self.train.batch_size, bool(on_data)), ("rollout", self.rollout.batch_size, rolled)):
            if used and size < self.resources.workers:
                raise ValueError(
                    f"`{key}.batch_size` must be at least one sample for each worker, but got {size} for "
                    f"{self.resources.workers} workers; enlarge the batch"
                )
        return self


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """A recipe (or a part of one) as dotted keys; constraints by their names: `constraints.four.at_most`."""
    if isinstance(value, Reward):
        value = value.model_dump(mode="json")  # the one that is named, not every word there is
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, list) and value and all(isinstance(each, BaseModel) and hasattr(each, "name") for each in value):
        value = {each.name: each for each in value}
    if isinstance(value, dict) and value:
        flat: dict[str, Any] = {}
        for key, below in value.items():
            flat.update(flatten(below, f"{prefix}.{key}" if prefix else str(key)))
        return flat
    return {prefix: value}
