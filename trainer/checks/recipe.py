"""All checks of a recipe that need its files: what every way to start a training asks first."""

from __future__ import annotations

from dualsweep.trainer.checks import before_loading
from dualsweep.trainer.checks.findings import Findings, findings
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.config.yaml_file import Document, validate
from dualsweep.trainer.data.dataset_info import DatasetInfo
from dualsweep.trainer.feasibility.defaults import without_tolerance
from dualsweep.trainer.recipe.load import tolerance_problems
from dualsweep.trainer.recipe.recipe import Recipe


def check_recipe(recipe: Recipe) -> None:
    """Holds a recipe that no file holds against its schema, data, models and the user's parts; mistakes are told by their keys.

    Raises:
        InputError: with every mistake found.
    """
    document = Document("", {})
    validate(Recipe, Document("", recipe.model_dump(mode="json")))  # pydantic's `model_copy` checks nothing
    found, known = before_loading.examine(recipe, document)
    if mistakes := tolerance_problems(recipe, document, without_tolerance(recipe)) + found:
        raise InputError(mistakes)
    check_by_loading(recipe, document, known)


def check_by_loading(recipe: Recipe, document: Document, known: DatasetInfo, everything: bool = False) -> Findings:
    """Loads the data, builds the model and asks all parts on two samples, where only that can tell, or `everything`.

    `known` is what is known of the data without.

    Raises:
        InputError: with the mistakes found.
    """
    if not everything and before_loading.is_conclusive(recipe):
        return findings(recipe, document, known)
    from dualsweep.trainer.checks.dry_run import dry_run  # torch and diffusers

    return dry_run(recipe, document)
