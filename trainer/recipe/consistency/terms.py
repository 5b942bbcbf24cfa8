"""Which terms, models and prompts go with which formulation."""

from __future__ import annotations

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.recipe.fields import RecipeFields
from dualsweep.trainer.recipe.formulation import SHAPES
from dualsweep.trainer.terms.registry import TERMS


def names_are_unique(recipe: RecipeFields) -> None:
    names = [constraint.name for constraint in recipe.constraints]
    for position, name in enumerate(names):
        if name in names[:position]:
            raise RuleError(f"constraints.{position}.name", "must be unique", f"'{name}' twice", "rename one")


def models_are_known(recipe: RecipeFields) -> None:
    known = {"pretrained", *recipe.models}
    for named in recipe.terms:
        if unknown := [name for name in named.term.models(named.value) if name not in known]:
            raise RuleError(named.where, "must name an entry of `models`", f"{unknown[0]!r}", f"write one of {sorted(known)}")


def objective_fits_the_formulation(recipe: RecipeFields) -> None:
    if SHAPES[recipe.formulation].simplex and recipe.objective is not None:
        raise RuleError(
            "objective",
            f"must be left out with the formulation {recipe.formulation}, which minimises the largest value",
            "one",
            "drop it",
        )


def maximised_is_a_reward(recipe: RecipeFields) -> None:
    if recipe.objective is None or not recipe.objective.maximize:
        return
    word, _ = recipe.objective.named
    if not word.tilts:
        raise RuleError(
            "objective.maximize",
            "must go with a reward",
            f"{word.word}, which has no largest value",
            "drop it, or write e.g. objective: {reward: brightness, maximize: true}",
        )
    for position, constraint in enumerate(recipe.constraints):
        if constraint.relative_to:
            raise RuleError(
                f"constraints.{position}.relative_to", "must be left out where the objective is maximised", "objective", "drop it"
            )


def terms_fit_the_formulation(recipe: RecipeFields) -> None:
    sources = SHAPES[recipe.formulation].sources
    for named in recipe.terms:
        if named.term.source not in sources:
            words = sorted(word for word, term in TERMS.items() if term.source in sources)
            raise RuleError(
                named.where,
                f"must be a term of the formulation {recipe.formulation}",
                named.term.word,
                f"write one of {words}, or formulation: combined",
            )


def sampler_has_noise(recipe: RecipeFields) -> None:
    for named in recipe.terms:
        if named.term.needs_noise and recipe.rollout.eta == 0:
            raise RuleError(
                "rollout.eta",
                f"must be above 0 with {named.term.word}, which is infinite for a deterministic sampler",
                "0",
                "write eta: 1.0",
            )


def model_fits_the_formulation(recipe: RecipeFields) -> None:
    if SHAPES[recipe.formulation].pretrained and recipe.model.unet is not None and "pretrained" not in recipe.models:
        raise RuleError(
            "model",
            f"must be a trained one for the formulation {recipe.formulation}",
            "a new unet",
            "write model.load or model.call, or give `models.pretrained`",
        )


def guided_is_no_score(recipe: RecipeFields) -> None:
    if recipe.formulation == "concept_composition" and recipe.evaluation.sampler == "langevin":
        raise RuleError(
            "evaluation.sampler",
            "must not be langevin for concept_composition, whose guided prediction is no score",
            "it",
            "drop it",
        )


def prompts_fit_the_terms(recipe: RecipeFields) -> None:
    other = next((each for each in recipe.terms if each.term.source != "rollout"), None)
    for key, model in {"model": recipe.model, **{f"models.{name}": each for name, each in recipe.models.items()}}.items():
        if len(model.texts) > 1 and other is not None:
            words = ", ".join(sorted(word for word, term in TERMS.items() if term.source == "rollout"))
            raise RuleError(
                f"{key}.prompts",
                f"must go with terms on trajectories alone ({words}), whose samples have each a prompt",
                other.where,
                "write one `prompt`, or one entry of `models` for each",
            )


def condition_fits(recipe: RecipeFields) -> None:
    model, dropout = recipe.model, recipe.train.condition_dropout
    new = model.load is None
    if model.condition is not None and new and recipe.data is None:
        raise RuleError(
            "model.condition", "must go with data, whose labels they are", "it without `data`", "drop it, or give `data`"
        )
    captions = recipe.data.captions if recipe.data is not None else None
    if model.condition == "captions" and captions is None:
        remedy = "write data.captions, the column or key of the texts, or one `prompt` for all"
        raise RuleError("model.condition", "must go with data that have captions where it is captions", "data without", remedy)
    if dropout and new and model.condition is None:
        rule = "must go with a model that is given the class of every example"
        raise RuleError("train.condition_dropout", rule, f"{dropout:g} without", "write model.condition: labels, or drop it")


def guidance_is_learned(recipe: RecipeFields) -> None:
    model = recipe.model
    if model.condition and model.unet is not None and model.guidance not in (None, 1.0) and not recipe.shows_none:
        raise RuleError(
            "model.guidance",
            "must go with train.condition_dropout, by which a new network learns what guidance leads away from",
            f"{model.guidance:g} without",
            "write e.g. train.condition_dropout: 0.1",
        )


def prompts_are_as_many(recipe: RecipeFields) -> None:
    own = len(recipe.model.texts)
    for name, model in recipe.models.items():
        if own and len(model.texts) not in (0, 1, own):
            raise RuleError(
                f"models.{name}.prompts",
                f"must be as many as those of `model`, {own}, whose samples they are for",
                f"{len(model.texts)}",
                "write one for each, or one `prompt` for all",
            )
