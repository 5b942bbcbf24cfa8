"""Which terms, models and prompts go with which formulation."""

from __future__ import annotations

from trainer.recipe.fields import RecipeFields
from trainer.recipe.formulation import SHAPES
from trainer.terms.registry import TERMS


def names_are_unique(recipe: RecipeFields) -> None:
    names = [constraint.name for constraint in recipe.constraints]
    for position, name in enumerate(names):
        if name in names[:position]:
            raise ValueError(f"`constraints.{position}.name` must be unique, but got '{name}' twice; rename one")


def models_are_known(recipe: RecipeFields) -> None:
    known = {"pretrained", *recipe.models}
    for each in recipe.terms:
        if unknown := [name for name in each.term.models(each.value) if name not in known]:
            raise ValueError(
                f"`{each.where}` must name an entry of `models`, but got {unknown[0]!r}; write one of {sorted(known)}"
            )


def objective_fits_the_formulation(recipe: RecipeFields) -> None:
    if SHAPES[recipe.formulation].simplex and recipe.objective is not None:
        raise ValueError(
            f"`objective` must be left out with the formulation {recipe.formulation}, which minimises the largest value, "
            "but got one; drop it"
        )


def maximised_is_a_reward(recipe: RecipeFields) -> None:
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


def terms_fit_the_formulation(recipe: RecipeFields) -> None:
    sources = SHAPES[recipe.formulation].sources
    for each in recipe.terms:
        if each.term.source not in sources:
            words = sorted(word for word, term in TERMS.items() if term.source in sources)
            raise ValueError(
                f"`{each.where}` must be a term of the formulation {recipe.formulation}, but got {each.term.word}; "
                f"write one of {words}, or formulation: combined"
            )


def sampler_has_noise(recipe: RecipeFields) -> None:
    for each in recipe.terms:
        if each.term.needs_noise and recipe.rollout.eta == 0:
            raise ValueError(
                f"`rollout.eta` must be above 0 with {each.term.word}, which is infinite for a deterministic sampler, "
                "but got 0; write eta: 1.0"
            )


def model_fits_the_formulation(recipe: RecipeFields) -> None:
    if SHAPES[recipe.formulation].pretrained and recipe.model.unet is not None and "pretrained" not in recipe.models:
        raise ValueError(
            f"`model` must be a trained one for the formulation {recipe.formulation}, but got a new unet; "
            "write model.load or model.call, or give `models.pretrained`"
        )


def guided_is_no_score(recipe: RecipeFields) -> None:
    if recipe.formulation == "concept_composition" and recipe.evaluation.sampler == "langevin":
        raise ValueError(
            "`evaluation.sampler` must not be langevin for concept_composition, whose guided prediction is no score, but got it; "
            "drop it"
        )


def prompts_fit_the_terms(recipe: RecipeFields) -> None:
    other = next((each for each in recipe.terms if each.term.source != "rollout"), None)
    for key, model in {"model": recipe.model, **{f"models.{name}": each for name, each in recipe.models.items()}}.items():
        if len(model.texts) > 1 and other is not None:
            words = ", ".join(sorted(word for word, term in TERMS.items() if term.source == "rollout"))
            raise ValueError(
                f"`{key}.prompts` must go with terms on trajectories alone ({words}), whose samples have each a prompt, but got "
                f"{other.where}; write one `prompt`, or one entry of `models` for each"
            )


def prompts_are_as_many(recipe: RecipeFields) -> None:
    own = len(recipe.model.texts)
    for name, model in recipe.models.items():
        if own and len(model.texts) not in (0, 1, own):
            raise ValueError(
                f"`models.{name}.prompts` must be as many as those of `model`, {own}, whose samples they are for, but got "
                f"{len(model.texts)}; write one for each, or one `prompt` for all"
            )
