"""Whether the parts of a recipe fit together. Each rule stands alone; what breaks any of them is told at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from trainer.schema.amortised import check_amortised
from trainer.schema.balance import check_balance
from trainer.schema.bound import check_bounds
from trainer.schema.compose import check_compose, check_nothing_trained
from trainer.schema.data import Subset
from trainer.schema.dual import ON_SIMPLEX
from trainer.schema.evaluation import STEPS
from trainer.schema.feasibility import check_feasibility
from trainer.schema.formulation import SHAPES
from trainer.schema.model import Schedule
from trainer.schema.start import check_start
from trainer.schema.word import Everything
from trainer.terms import TERMS

if TYPE_CHECKING:
    from trainer.recipe import Recipe


#: The fewest timesteps with which these schedules keep of unit variance at most 5 % from the start of a chain of 6 steps; the
#: others do with any number.
SHORTEST = {"linear": 400, "scaled_linear": 500, "sigmoid": 400}


class MisfitError(ValueError):
    """Several rules that a recipe breaks, a message each."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__("\n".join(messages))
        self.messages = messages


def check_fit(recipe: Recipe, stored: bool = False) -> None:
    """Holds a recipe against every rule over several of its sections; one that a run has stored, not against those since.

    Raises:
        MisfitError: with a message for each rule that is broken.
    """
    messages = []
    for rule in RULES if stored else (*RULES, *SINCE):
        try:
            rule(recipe)
        except ValueError as error:
            messages.append(str(error))
    if messages:
        raise MisfitError(messages)


def _names_are_unique(recipe: Recipe) -> None:
    names = [constraint.name for constraint in recipe.constraints]
    for position, name in enumerate(names):
        if name in names[:position]:
            raise ValueError(f"`constraints.{position}.name` must be unique, but got '{name}' twice; rename one")


def _bounds_fit_the_dual(recipe: Recipe) -> None:
    bounds = {constraint.name: constraint for constraint in recipe.constraints}
    check_bounds(bounds, recipe.dual, SHAPES[recipe.formulation].simplex)


def _start_fits_the_dual(recipe: Recipe) -> None:
    if recipe.start is not None:
        bounds = {constraint.name: constraint for constraint in recipe.constraints}
        check_start(recipe.start, bounds, recipe.dual, SHAPES[recipe.formulation].simplex)


def _models_are_known(recipe: Recipe) -> None:
    known = {"pretrained", *recipe.models}
    for each in recipe.terms:
        if unknown := [name for name in each.term.models(each.value) if name not in known]:
            raise ValueError(
                f"`{each.where}` must name an entry of `models`, but got {unknown[0]!r}; write one of {sorted(known)}"
            )


def _composition_is_of_what_is_there(recipe: Recipe) -> None:
    asked = [(each.where, each.term.models(each.value)) for each in recipe.terms if each.column]
    check_compose(recipe.model, recipe.models, recipe.formulation, asked)


def _nothing_is_trained(recipe: Recipe) -> None:
    if recipe.model.compose is not None:
        check_nothing_trained({"train": recipe.train, "rollout": recipe.rollout})


def _guided_is_no_score(recipe: Recipe) -> None:
    if recipe.formulation == "concept_composition" and recipe.evaluation.sampler == "langevin":
        raise ValueError(
            "`evaluation.sampler` must not be langevin for concept_composition, whose guided prediction is no score, but got it; "
            "drop it"
        )


def _rule_fits_the_formulation(recipe: Recipe) -> None:
    rule, simplex = recipe.dual.rule, SHAPES[recipe.formulation].simplex
    # Weights that stay equal are the baseline of both kinds, so `fixed` goes with either.
    if simplex != (rule in ON_SIMPLEX) and rule != "fixed":
        rules = " or ".join((*ON_SIMPLEX, "fixed")) if simplex else "one that is not on the simplex"
        raise ValueError(f"`dual.rule` must be {rules} with the formulation {recipe.formulation}, but got {rule}; change one")
    if rule == "newton" and not any(each.term.anchors for each in recipe.terms if each.column == 0):
        raise ValueError(
            "`dual.rule` must have a KL along trajectories as objective to be newton, whose Hessian is that of a tilted model, "
            "but got another; use secant"
        )


def _newton_needs_a_chain_that_forgets(recipe: Recipe) -> None:
    """A KL along trajectories prices what the chain's noise can move, so ds/dλ is the covariance that is due to it alone."""
    if recipe.dual.rule != "newton":
        return
    if recipe.rollout.eta < 1:
        raise ValueError(
            f"`rollout.eta` must be 1 with dual.rule newton, but got {recipe.rollout.eta:g}: below it samples keep a part of the "
            "noise that they start from, which no multiplier moves, so the samples' covariance is not the slope of the slacks; "
            "write eta: 1.0, or dual.rule: secant, which learns the slope"
        )
    if recipe.schedule is None and recipe.leading.load is not None:
        return  # the loaded model's own: `trainer.models.loadable.newton_faults`
    spec = recipe.schedule or Schedule()
    fewest = SHORTEST.get(spec.name or "", 0)
    if spec.timesteps < fewest:
        raise ValueError(
            f"`schedule.timesteps` must be at least {fewest} for {spec.name} with dual.rule newton, but got {spec.timesteps}: it "
            "ends far from pure noise, so samples keep a part of what they start from, which no multiplier moves, and their "
            "covariance is not the slope of the slacks; raise it, write name: squaredcos_cap_v2, or dual.rule: secant"
        )


def _updates_are_of_black_boxes(recipe: Recipe) -> None:
    rollout = recipe.rollout
    if rollout.updates > 1 and rollout.gradient == "backpropagation":
        raise ValueError(
            f"`rollout.updates` must be 1 with gradient backpropagation, which steps once on its trajectories, but got "
            f"{rollout.updates}; drop it, or write gradient: policy_gradient, dag or dag_kl"
        )


def _black_boxes_need_noise(recipe: Recipe) -> None:
    if recipe.rollout.gradient != "backpropagation" and recipe.rollout.steps < 2:
        raise ValueError(
            f"`rollout.steps` must be at least 2 with gradient {recipe.rollout.gradient}, as the last step has no noise and so "
            f"no density, but got {recipe.rollout.steps}; write e.g. steps: 15"
        )


def _objective_fits_the_formulation(recipe: Recipe) -> None:
    if SHAPES[recipe.formulation].simplex and recipe.objective is not None:
        raise ValueError(
            f"`objective` must be left out with the formulation {recipe.formulation}, which minimises the largest value, "
            "but got one; drop it"
        )


def _maximised_is_a_reward(recipe: Recipe) -> None:
    if recipe.objective is None or not recipe.objective.maximize:
        return
    word, _ = recipe.objective.term
    if not word.tilts:
        raise ValueError(
            f"`objective.maximize` must go with a reward, but got {word.word}, which has no largest value; drop it, "
            "or write e.g. objective: {reward: brightness, maximize: true}"
        )
    for position, constraint in enumerate(recipe.constraints):
        if constraint.relative_to:
            raise ValueError(
                f"`constraints.{position}.relative_to` must be left out where the objective is maximised, but got objective; "
                "drop it"
            )


def _terms_fit_the_formulation(recipe: Recipe) -> None:
    sources = SHAPES[recipe.formulation].sources
    for each in recipe.terms:
        if each.term.source not in sources:
            words = sorted(word for word, term in TERMS.items() if term.source in sources)
            raise ValueError(
                f"`{each.where}` must be a term of the formulation {recipe.formulation}, but got {each.term.word}; "
                f"write one of {words}, or formulation: combined"
            )


def _sampler_has_noise(recipe: Recipe) -> None:
    for each in recipe.terms:
        if each.term.needs_noise and recipe.rollout.eta == 0:
            raise ValueError(
                f"`rollout.eta` must be above 0 with {each.term.word}, which is infinite for a deterministic sampler, "
                "but got 0; write eta: 1.0"
            )


def _model_fits_the_formulation(recipe: Recipe) -> None:
    if SHAPES[recipe.formulation].pretrained and recipe.model.unet is not None and "pretrained" not in recipe.models:
        raise ValueError(
            f"`model` must be a trained one for the formulation {recipe.formulation}, but got a new unet; "
            "write model.load or model.call, or give `models.pretrained`"
        )


def _data_fit_the_terms(recipe: Recipe) -> None:
    drawn = [(each.column, each.term.population(each.value)) for each in recipe.terms if each.term.population is not None]
    on_data = {column for column, population in drawn if isinstance(population, Everything | Subset)}
    if recipe.data is not None and recipe.data.balance and 0 not in on_data:
        raise ValueError(
            "`data.balance` must go with an objective on data, but got none; drop it, or write e.g. "
            "objective: {data: {all: true}}"
        )
    if recipe.data is None and on_data:
        raise ValueError("`data` must be given for terms on data, but got nothing; write e.g. data: {source: digits}")
    if recipe.data is None and not recipe.leading.shape and recipe.leading.load is None:
        raise ValueError("`model.shape` must be given where there is no data, but got nothing; write e.g. shape: [2]")


def _samplers_fit_the_schedule(recipe: Recipe) -> None:
    if recipe.schedule is None and recipe.leading.load is not None:
        return  # the loaded model's own is known only then
    timesteps = (recipe.schedule or Schedule()).timesteps
    evaluation = recipe.evaluation
    scheduled = evaluation.samples > 0 and recipe.sampling.sampler in STEPS
    for key, steps, used in (
        ("evaluation.sample_steps", recipe.sampling.steps, scheduled),
        ("rollout.steps", recipe.rollout.steps, bool(recipe.terms_on("rollout"))),
    ):
        if used and steps > timesteps:
            raise ValueError(f"`{key}` must be at most schedule.timesteps, {timesteps}, but got {steps}; lower it")


def _batch_holds_every_term(recipe: Recipe) -> None:
    train = recipe.train
    needed = sum(train.floor if each.column else 1 for each in recipe.terms_on("data"))
    if train.batches == "mixture" and train.batch_size < needed:
        raise ValueError(
            f"`train.batch_size` must be at least 1 + constraints x floor = {needed}, but got {train.batch_size}; "
            "enlarge the batch, or lower train.floor"
        )


def _batch_holds_every_worker(recipe: Recipe) -> None:
    workers = recipe.resources.workers
    for key, size, used in (
        ("train", recipe.train.batch_size, recipe.terms_on("data")),
        ("rollout", recipe.rollout.batch_size, recipe.terms_on("rollout")),
    ):
        if used and size < workers:
            raise ValueError(
                f"`{key}.batch_size` must be at least one sample for each worker, but got {size} for {workers} workers; "
                "enlarge the batch"
            )


def _steps_end_with_a_dual_step(recipe: Recipe) -> None:
    steps, every = recipe.train.steps, recipe.dual.every
    if steps % every:
        raise ValueError(
            f"`train.steps` must be a multiple of dual.every, but got {steps} with every {every}; "
            f"write {-(-steps // every) * every}"
        )


def _prompts_fit_the_terms(recipe: Recipe) -> None:
    other = next((each for each in recipe.terms if each.term.source != "rollout"), None)
    for key, model in {"model": recipe.model, **{f"models.{name}": each for name, each in recipe.models.items()}}.items():
        if len(model.texts) > 1 and other is not None:
            words = ", ".join(sorted(word for word, term in TERMS.items() if term.source == "rollout"))
            raise ValueError(
                f"`{key}.prompts` must go with terms on trajectories alone ({words}), whose samples have each a prompt, but got "
                f"{other.where}; write one `prompt`, or one entry of `models` for each"
            )


def _prompts_are_as_many(recipe: Recipe) -> None:
    own = len(recipe.model.texts)
    for name, model in recipe.models.items():
        if own and len(model.texts) not in (0, 1, own):
            raise ValueError(
                f"`models.{name}.prompts` must be as many as those of `model`, {own}, whose samples they are for, but got "
                f"{len(model.texts)}; write one for each, or one `prompt` for all"
            )


RULES: tuple[Callable[[Recipe], None], ...] = (
    _names_are_unique, _bounds_fit_the_dual, _start_fits_the_dual, _models_are_known, _rule_fits_the_formulation,
    _objective_fits_the_formulation,
    _maximised_is_a_reward, _composition_is_of_what_is_there, _nothing_is_trained, _guided_is_no_score,
    _terms_fit_the_formulation, _sampler_has_noise, _model_fits_the_formulation, _data_fit_the_terms, check_balance,
    _samplers_fit_the_schedule, _prompts_fit_the_terms, _prompts_are_as_many, _batch_holds_every_term, _batch_holds_every_worker,
    _steps_end_with_a_dual_step, check_amortised, check_feasibility,
)  # fmt: skip
#: Those that runs may have stored recipes before, which are still to be read.
SINCE: tuple[Callable[[Recipe], None], ...] = (
    _newton_needs_a_chain_that_forgets,
    _black_boxes_need_noise,
    _updates_are_of_black_boxes,
)
