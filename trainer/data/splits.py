"""All the data of a recipe: the rows of each term, over one numbering of examples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.data.division import Split, split
from dualsweep.trainer.data.examples import Examples, Integers
from dualsweep.trainer.data.faults import BadDataError, attribute_faults, without_classes
from dualsweep.trainer.data.joined import concatenate
from dualsweep.trainer.data.load import load
from dualsweep.trainer.data.subsets import SubsetRows, subset
from dualsweep.trainer.recipe.data import Subset
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.recipe.term_spec import Everything

__all__ = ["Assembled", "Split", "SubsetRows", "assemble", "split", "subset"]


@dataclass(frozen=True)
class Assembled:
    """Rows of `examples`, each array sorted; one for each expectation, objective first, empty where a term needs no data.

    `examples` are the data set's, then those of terms with a data set of their own (of label -1). `split` is of the data set
    alone, so what is to be done with all of its classes (judging, say) uses `split.examples`.
    """

    examples: Examples
    rows: list[Integers]
    held_out_rows: list[Integers]
    split: Split


def assemble(recipe: Recipe) -> Assembled:
    """Loads and divides the data of a recipe that has some; the same on every worker.

    Raises:
        BadDataError: the data cannot be had, or a part of it is empty; with one fault for each term at fault.
        ValueError: the recipe has no data.
    """
    if recipe.data is None:
        raise ValueError("`data` must be given, but got nothing; a recipe without data has nothing to assemble")
    parts = split(load(recipe.data), recipe.data, recipe.seed)
    nothing = np.empty(0, dtype=np.int64)
    subsets = [SubsetRows(nothing, nothing)] * (1 + len(recipe.constraints))
    faults: list[Diagnostic] = []
    for named in recipe.terms:
        population = named.term.population(named.value) if named.term.population else None
        try:
            if isinstance(population, Everything):
                subsets[named.column] = SubsetRows(parts.train, parts.held_out_objective)
            elif isinstance(population, Subset):
                subsets[named.column] = subset(population, parts, named.keys)
        except BadDataError as error:
            faults.extend(error.diagnostics)
    if faults:
        raise BadDataError(*faults)
    joined = _join(parts, subsets)
    if recipe.data.balance is True:
        _check_classes(joined)
    elif recipe.data.balance:
        _check_attribute(joined, recipe.data.balance)
    return joined


def _check_classes(data: Assembled) -> None:
    """Raises BadDataError unless every example of the objective is of a class."""
    labels = data.examples.labels
    if labels is None or (labels[data.rows[0]] < 0).any():
        raise BadDataError(without_classes("data without labels" if labels is None else "examples that are of no class"))


def _check_attribute(data: Assembled, name: str) -> None:
    """Raises BadDataError unless some examples of the objective have the attribute, and some have not."""
    keys, attributes = ("data", "balance"), data.examples.attributes
    if faults := attribute_faults({name: True}, attributes.names if attributes is not None else None, keys, named=False):
        raise BadDataError(*faults)
    assert attributes is not None  # else there are faults
    having = attributes.having({name: True})[data.rows[0]]
    if having.all() or not having.any():
        rule, received = "must be an attribute that some examples have and some have not", f"{'all' if having.any() else 'none'}"
        raise BadDataError(Diagnostic(keys, rule, f"{show(name)}, which {received} have", "drop it, or name another"))


def _join(parts: Split, subsets: list[SubsetRows]) -> Assembled:
    examples = parts.examples
    train, held_out = [], []
    for rows in subsets:
        offset = 0
        if rows.examples is not None:
            offset = len(examples)
            examples = concatenate(examples, rows.examples)
        train.append(rows.train + offset)
        held_out.append(rows.held_out + offset)
    return Assembled(examples, train, held_out, parts)
