"""All checks of a recipe that need its files: what every way to start a training asks first."""

from __future__ import annotations

from dualsweep.trainer.checks import before_loading
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.config.yaml_file import Document
from dualsweep.trainer.feasibility.defaults import without_tolerance
from dualsweep.trainer.recipe.load import tolerance_problems
from dualsweep.trainer.recipe.recipe import Recipe


def check_recipe(recipe: Recipe) -> None:
    """Holds a valid recipe that no file holds against its data, models and the user's parts; mistakes are told by their keys.

    Raises:
        InputError: with every mistake found.
    """
    document = Document("", {})
    mistakes = tolerance_problems(recipe, document, without_tolerance(recipe)) + before_loading.check(recipe, document)
    if mistakes:
        raise InputError(mistakes)
    check_by_loading(recipe, document)


def check_by_loading(recipe: Recipe, document: Document) -> None:
    """Loads the data where only that can tell.

    Raises:
        InputError: with every mistake found.
    """
    if before_loading.is_conclusive(recipe):
        return
    from dualsweep.trainer.checks.after_loading import check_deep  # torch and diffusers

    if mistakes := check_deep(recipe, document):
        raise InputError(mistakes)
