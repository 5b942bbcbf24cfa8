"""Which compositions a recipe may ask for, and which settings say nothing beside one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.recipe.base import Section
from dualsweep.trainer.recipe.compose import Compose
from dualsweep.trainer.recipe.fields import RecipeFields
from dualsweep.trainer.recipe.formulation import Formulation
from dualsweep.trainer.recipe.model import Model

#: The formulations that a model without weights solves by its dual steps alone.
DUAL_ONLY = ("composition_and", "concept_composition")
#: The keys of a section that are about gradients.
OF_TRAINING = {
    "train": (
        "lr", "lr_schedule", "lr_cooldown", "lr_warmup", "weight_decay", "clip", "ema", "loss_weight", "batches", "floor",
        "offset_noise", "constraint_batch", "accumulate", "checkpointing", "compile",
    ),
    "rollout": (
        "gradient", "reference", "flow", "truncation", "activation_checkpointing", "updates", "clip_range",
    ),
}  # fmt: skip


def _check_compose(
    model: Model, models: Mapping[str, Model], formulation: Formulation, asked: Sequence[tuple[str, Sequence[str]]]
) -> None:
    """Refuses compositions of what is not there, or whose weights no constraint moves.

    `asked` are the terms in their order: where each stands, and the models that it asks.

    Raises:
        ValueError: saying the key, what was received and the way out.
    """
    for name, each in models.items():
        if each.compose is not None:
            raise RuleError(
                f"models.{name}.compose", "must stand in `model` alone", "one here", "run it as a recipe of its own and load that"
            )
    spec = model.compose
    if spec is None:
        if formulation == "concept_composition":
            raise RuleError(
                "model",
                "must be composed for the formulation concept_composition",
                "another kind",
                "write model: {compose: {of: [NAME, NAME], guidance: 7.5}}, or choose another formulation",
            )
        return
    if formulation not in DUAL_ONLY:
        raise RuleError(
            "formulation",
            f"must be {' or '.join(DUAL_ONLY)} for a composed model, which has nothing to train",
            formulation,
            "choose one, or another model",
        )
    for key, names in (("of", spec.of), ("base", [spec.base] if spec.base is not None else [])):
        if unknown := [name for name in names if name not in models]:
            raise RuleError(
                f"model.compose.{key}", "must name entries of `models`", f"{unknown[0]!r}", f"write of {sorted(models)}"
            )
    _moved_by_constraints(spec, asked)
    _guided(spec, models, formulation)


def _moved_by_constraints(spec: Compose, asked: Sequence[tuple[str, Sequence[str]]]) -> None:
    """Each entry's weight is the multiplier of the one constraint to it."""
    seen: set[str] = set()
    for where, names in asked:
        if len(names) != 1 or names[0] not in spec.of or names[0] in seen:
            received = f"a second one to {names[0]}" if names and names[0] in seen else f"one to {names[0] if names else 'none'}"
            raise RuleError(
                where,
                "must be the one constraint to an entry of model.compose.of, whose weight it moves",
                received,
                "drop it, or name it there",
            )
        seen.add(names[0])
    if missing := [name for name in spec.of if name not in seen]:
        raise RuleError(
            "model.compose.of",
            "must name models that have a constraint each, which moves their weight",
            f"{missing[0]} without",
            "write one, or leave it out",
        )


def parts_are_noised_alike(recipe: RecipeFields) -> None:
    """The losses of a composed model's parts compare only from one timestep on."""
    if recipe.model.compose is None:
        return
    first: int | None = None
    for named in recipe.terms:
        timestep = getattr(named.value, "timestep", None)
        if timestep is None:
            continue
        first = timestep if first is None else first
        if timestep != first:
            key = ".".join(map(str, (*named.keys, "timestep")))
            rule = "must be the same for all parts of a composed model, whose losses compare only then"
            raise RuleError(key, rule, f"{timestep}, where another has {first}", f"write {first}")


def _guided(spec: Compose, models: Mapping[str, Model], formulation: Formulation) -> None:
    if formulation == "composition_and" and spec.guidance is not None:
        raise RuleError(
            "model.compose.guidance",
            "must go with concept_composition",
            f"{spec.guidance} with composition_and, whose product has no guidance",
            "drop it",
        )
    if formulation == "concept_composition" and spec.guidance is None:
        raise RuleError("model.compose.guidance", "must be given for concept_composition", "none", "write e.g. guidance: 7.5")
    without = [name for name in spec.of if models[name].load is None]
    if spec.guidance is not None and spec.base is None and without:
        raise RuleError(
            "model.compose.base",
            "must be given where a model has no unconditional prediction of its own",
            f"none for {without[0]}",
            "name an entry of `models` that is unconditional",
        )


def _check_nothing_trained(sections: Mapping[str, Section]) -> None:
    """Refuses settings of training beside a model that has nothing to train; their defaults are as good as none.

    Raises:
        ValueError: saying the key, what was received and the way out.
    """
    for section, keys in OF_TRAINING.items():
        for key in keys:
            value = getattr(sections[section], key)
            if value != type(sections[section]).model_fields[key].default:
                raise RuleError(
                    f"{section}.{key}", "must be left out for a composed model, which has nothing to train", value, "drop it"
                )


def composition_is_of_what_is_there(recipe: RecipeFields) -> None:
    asked = [(each.where, each.term.models(each.value)) for each in recipe.terms if each.column]
    _check_compose(recipe.model, recipe.models, recipe.formulation, asked)


def nothing_is_trained(recipe: RecipeFields) -> None:
    if recipe.model.compose is not None:
        _check_nothing_trained({"train": recipe.train, "rollout": recipe.rollout})
