"""Where a model comes from. A checkpoint says by its recipe what it was made from: a diffusers model, a function, or another
checkpoint; its weights, or those of its adapter, lie in itself.
"""

from __future__ import annotations

from typing import NamedTuple

import yaml

from dualsweep.trainer.checkpoint import locate
from dualsweep.trainer.checks.model_files import ADAPTER
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.recipe.model import Model
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.storage import read_file
from dualsweep.trainer.trust import check_may_run

_CONDITIONS = ("prompt", "prompts", "negative_prompt", "label", "condition", "guidance")
#: Of these a model has one.
_EXCLUSIVE = ("prompt", "prompts", "label", "condition")
#: What a run of ours takes that was trained on labels.
_BY_LABEL = ("label", "condition", "guidance")


#: Multipliers by constraint, as a key.
Multipliers = tuple[tuple[str, float], ...]


class Origin(NamedTuple):
    """Whose weights a network has: those at `base`, a diffusers model or a checkpoint, under the adapters at `adapters`.

    `bound` are the amortised checkpoints among them, with the multipliers at which they are taken.
    """

    base: str
    adapters: tuple[str, ...]
    bound: tuple[tuple[str, Multipliers], ...] = ()


def origin_of(spec: Model) -> Origin:
    """The origin of a loaded model, without an adapter that is still to be made."""
    own = (spec.lora,) if isinstance(spec.lora, str) else ()
    checkpoint = locate(str(spec.load))
    bound = _bound(spec, checkpoint)
    if checkpoint is None or read_file(checkpoint, ADAPTER) is None:
        return Origin(checkpoint or str(spec.load), own, bound)
    base = recipe_of(checkpoint).model.model_copy(update={"lora": None})
    # A run that started from a run with an adapter trained that one: its base lies further down.
    while isinstance(base.load, str) and (below := locate(base.load)) and read_file(below, ADAPTER) is not None:
        bound = (*_bound(base, below), *bound)
        base = recipe_of(below).model.model_copy(update={"lora": None})
    start = origin_of(base)
    return Origin(start.base, (checkpoint, *own), (*start.bound, *bound))


def base_of(spec: Model) -> str:
    """The base of a loaded model's origin, at whatever multipliers."""
    checkpoint = locate(str(spec.load))
    if checkpoint is None or read_file(checkpoint, ADAPTER) is None:
        return checkpoint or str(spec.load)
    return base_of(recipe_of(checkpoint).model)


def _bound(spec: Model, checkpoint: str | None) -> tuple[tuple[str, Multipliers], ...]:
    """The multipliers at which the checkpoint of `spec.load` is taken, where it is amortised.

    Raises:
        TrainingError: it is and none are given, or they are of other constraints; or it is not and there are some.
    """
    recipe = recipe_of(checkpoint) if checkpoint is not None else None
    if recipe is None or checkpoint is None or recipe.amortised is None:
        if spec.multipliers is not None:
            raise TrainingError(
                f"a model's `multipliers` must go with an amortised run, but got {spec.multipliers} for {spec.load}; drop them"
            )
        return ()
    names = [each.name for each in recipe.constraints]
    if spec.multipliers is None:
        example = ", ".join(f"{name}: 0.1" for name in names)
        raise TrainingError(
            f"an amortised run must be taken at some multipliers, but got none for {spec.load}; write multipliers: {{{example}}}"
        )
    if unknown := sorted(set(spec.multipliers) - set(names)):
        raise TrainingError(
            f"a model's `multipliers` must be of its run's constraints {names}, but got {unknown[0]} for {spec.load}; rename it"
        )
    return ((checkpoint, tuple((name, spec.multipliers.get(name, 0.0)) for name in names)),)


def bound_of(spec: Model) -> Multipliers | None:
    """The multipliers at which a network that takes them as an argument is asked; None where no run down its chain has any."""
    checkpoint = locate(spec.load) if spec.load is not None else None
    if checkpoint is None:
        return None
    own = _bound(spec, checkpoint)
    return own[0][1] if own else bound_of(recipe_of(checkpoint).model)


def recipe_of(checkpoint: str, trusted: bool = False) -> Recipe:
    """The recipe that lies in a checkpoint; the terms that it names by import path are there only where it is `trusted`.

    Raises:
        TrainingError: there is none of this version.
    """
    try:
        return Recipe.stored(read_in(checkpoint, "recipe.yaml").decode(), trusted)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise TrainingError(
            f"a checkpoint must hold a recipe that this version reads, but got {what} in {checkpoint}; take another one"
        ) from None


def rooted(spec: Model) -> Model:
    """What a chain of checkpoints was made from, with the conditions of its last link.

    Raises:
        TrainingError: it is a function that only a stranger's checkpoint names, or the conditions are of another kind of network.
    """
    if spec.load is None or (checkpoint := locate(spec.load)) is None:
        return spec
    root = rooted(recipe_of(checkpoint).leading)
    if root.call is not None:
        check_may_run(checkpoint, root.call)
    given = {key: getattr(spec, key) for key in _CONDITIONS if getattr(spec, key) is not None}
    key = next((each for each in given if root.condition is None or each not in _BY_LABEL), None)
    if key is not None and root.load is None and root.condition == "labels":
        raise TrainingError(
            f"a model's `{key}` must go with a network that takes text, but {spec.load} takes a class; write `label`, to sample "
            "`--label`, in its place"
        )
    if key is not None and root.load is None:
        raise TrainingError(f"a model's `{key}` must go with a conditional network, but {spec.load} has none; drop `{key}`")
    if any(key in given for key in _EXCLUSIVE):
        given = dict.fromkeys(_EXCLUSIVE) | given
    return root.model_copy(update=given)


def knows_none(spec: Model) -> bool:
    """Whether a loaded network has learned what is of no class, as far as its chain of runs tells.

    What is not a run of ours, or started from another, is taken to know it where it has an embedding for it; and a run that was
    sampled under guidance is as it was.
    """
    checkpoint = locate(spec.load) if spec.load is not None else None
    if checkpoint is None:
        return spec.load is not None
    recipe = recipe_of(checkpoint)
    guided = recipe.model.guidance not in (None, 1.0)
    return guided or recipe.model.call is not None or recipe.shows_none or knows_none(recipe.model)


def read_in(checkpoint: str, name: str) -> bytes:
    """A file of a checkpoint. Raises `TrainingError` where there is none."""
    content = read_file(checkpoint, name)
    if content is None:
        raise TrainingError(f"a checkpoint must hold {name}, but {checkpoint} has none; take one of a run that wrote it")
    return content
