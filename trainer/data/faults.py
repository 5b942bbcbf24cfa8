"""What can be wrong with data, told in the form of all input errors, but known only once the data is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.config.yaml_file import Document, Keys, dotted, nearest, show
from trainer.errors import Problem, TrainingError
from trainer.recipe.base import ClassName


@dataclass(frozen=True)
class Fault:
    """One thing wrong with the data; `keys` lead to what the recipe says of it, e.g. ("constraints", 0, "data")."""

    keys: Keys
    rule: str
    received: str
    remedy: str

    def __str__(self) -> str:
        return f"{dotted(self.keys)}: {self.rule}, but got {self.received}; {self.remedy}"

    def problem(self, document: Document) -> Problem:
        return document.problem(self.keys, self.rule, self.received, self.remedy)


class BadDataError(TrainingError):
    """The data cannot be trained on; carries every fault found. Trying again does not fix it."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(*faults)
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join(str(fault) for fault in self.faults)


def without_labels(keys: Keys, asked: object) -> Fault:
    """Classes are asked of data that has none."""
    remedy = "give labelled data (`label_column`, sub-folders, or items (x, label)), or leave the class out"
    return Fault(keys, "must go with data that has labels", show(asked), remedy)


def without_classes(received: str) -> Fault:
    """`data.balance` is asked of examples without classes."""
    remedy = "drop it, or give data with labels"
    return Fault(("data", "balance"), "must go with an objective on examples that have classes", received, remedy)


def unknown_class(keys: Keys, name: ClassName, names: Sequence[ClassName], remark: str = "") -> Fault:
    """A class that the data does not have; where the data has its digits as a word (`007`), quotes are missing."""
    digits = [
        each for each in names if isinstance(name, int) and isinstance(each, str) and each.isdecimal() and int(each) == name
    ]
    remedy = f'put it in quotes, as it is written there: "{digits[0]}"' if digits else nearest(name, names)
    return Fault(keys, "must be a class of the data", show(name) + remark, remedy)


def nothing_kept(keys: Keys, names: Sequence[ClassName], thinned: bool) -> Fault:
    """The classes of a constraint have no example: where `thinned`, `keep` takes all of them away, else the data has none."""
    received = f"none for {show(list(names))}" + (" after `keep`" if thinned else ", which no example of the data is of")
    remedy = "keep a share of that class by `data.keep`, or name another" if thinned else "name another, or give examples of it"
    return Fault(keys, "must have examples to train on", received, remedy)


def nothing_to_train_on(keep: dict[ClassName, float]) -> Fault:
    return Fault(("data", "keep"), "must leave examples to train on", show(keep), "keep a share of some class")
