"""All the data of a recipe: the objective's rows and each constraint's, over one numbering of examples."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.data.division import Split, split
from trainer.data.examples import Examples, Integers, concatenate
from trainer.data.faults import BadDataError, Fault
from trainer.data.load import load
from trainer.data.subsets import SubsetRows, subset
from trainer.recipe import Recipe

__all__ = ["Assembled", "Split", "SubsetRows", "assemble", "split", "subset"]


@dataclass(frozen=True)
class Assembled:
    """Rows of `examples`, each array sorted; one array for each constraint, in the recipe's order.

    `examples` are the data set's, then those of constraints with a data set of their own (of label -1). `split` is of the
    data set alone, so what is to be done with all of its classes (judging, say) uses `split.examples`.
    """

    examples: Examples
    objective_rows: Integers
    constraint_rows: list[Integers]
    held_out_objective_rows: Integers
    held_out_constraint_rows: list[Integers]
    split: Split


def assemble(recipe: Recipe) -> Assembled:
    """Loads and divides the data; the same on every worker.

    Raises:
        BadDataError: the data cannot be had, or a part of it is empty; with one fault for each constraint at fault.
    """
    parts = split(load(recipe.data), recipe.data, recipe.seed)
    subsets: list[SubsetRows] = []
    faults: list[Fault] = []
    for position, constraint in enumerate(recipe.constraints):
        try:
            subsets.append(subset(constraint.data, parts, ("constraints", position, "data")))
        except BadDataError as error:
            faults.extend(error.faults)
    if faults:
        raise BadDataError(*faults)
    return _join(parts, subsets)


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
    return Assembled(examples, parts.train, train, parts.held_out_objective, held_out, parts)
