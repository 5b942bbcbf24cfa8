"""All checks of a recipe that need its files: what every way to start a training asks first."""

from __future__ import annotations

from trainer.checks import before_loading
from trainer.config.diagnostics import Diagnostic, InputError
from trainer.config.yaml_file import Document
from trainer.feasibility.defaults import without_tolerance
from trainer.recipe.load import tolerance_problems
from trainer.recipe.recipe import Recipe


def check_recipe(recipe: Recipe, document: Document | None = None) -> None:
    """Holds a valid recipe against its data, models and the user's parts; loads the data where only that can tell.

    `document` is the file that it was read from; without one mistakes are told by their keys alone.

    Raises:
        InputError: with every mistake found.
    """
    document = document or Document("", {})
    mistakes = tolerance_problems(recipe, document, without_tolerance(recipe)) + before_loading.check(recipe, document)
    _raise(mistakes)
    if not before_loading.is_conclusive(recipe):
        from trainer.checks.after_loading import check_deep  # torch and diffusers

        _raise(check_deep(recipe, document))


def _raise(mistakes: list[Diagnostic]) -> None:
    if mistakes:
        raise InputError(mistakes)
