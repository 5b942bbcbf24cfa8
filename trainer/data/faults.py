"""What can be wrong with data, told in the form of all input errors, but known only once the data is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dualsweep.trainer.config.diagnostics import Diagnostic, Keys
from dualsweep.trainer.config.wording import nearest, show
from dualsweep.trainer.data.class_names import composed
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.recipe.base import ClassName


class BadDataError(TrainingError):
    """The data cannot be trained on; carries every mistake found. Trying again does not fix it."""

    def __init__(self, *diagnostics: Diagnostic) -> None:
        super().__init__(*diagnostics)
        self.diagnostics = diagnostics

    def __str__(self) -> str:
        return "\n".join(str(diagnostic) for diagnostic in self.diagnostics)


def without_labels(keys: Keys, asked: object) -> Diagnostic:
    """Classes are asked of data that has none."""
    remedy = "give labelled data (`label_column`, sub-folders, or items (x, label)), or leave the class out"
    return Diagnostic(keys, "must go with data that has labels", show(asked), remedy)


def without_classes(received: str) -> Diagnostic:
    """`data.balance` is asked of examples without classes."""
    remedy = "drop it, or give data with labels"
    return Diagnostic(("data", "balance"), "must go with an objective on examples that have classes", received, remedy)


def unknown_class(keys: Keys, name: ClassName, names: Sequence[ClassName], remark: str = "") -> Diagnostic:
    """A class that the data does not have; where the data has its digits as a word (`007`), quotes are missing."""
    digits = [
        each for each in names if isinstance(name, int) and isinstance(each, str) and each.isdecimal() and int(each) == name
    ]
    remedy = f'put it in quotes, as it is written there: "{digits[0]}"' if digits else nearest(name, names)
    return Diagnostic(keys, "must be a class of the data", show(name) + remark, remedy)


def nothing_kept(keys: Keys, names: Sequence[ClassName], thinned: bool) -> Diagnostic:
    """The classes of a constraint have no example: where `thinned`, `keep` takes all of them away, else the data has none."""
    received = f"none for {show(list(names))}" + (" after `keep`" if thinned else ", which no example of the data is of")
    remedy = "keep a share of that class by `data.keep`, or name another" if thinned else "name another, or give examples of it"
    return Diagnostic(keys, "must have examples to train on", received, remedy)


def nothing_to_train_on(keep: dict[ClassName, float]) -> Diagnostic:
    return Diagnostic(("data", "keep"), "must leave examples to train on", show(keep), "keep a share of some class")


def without_captions(keys: Keys) -> Diagnostic:
    """Captions are asked of data of which none are read."""
    return Diagnostic(keys, "must go with data that have captions", "data without", "say by `data.captions` where they are")


def attribute_faults(
    wanted: Mapping[str, bool], names: Sequence[str] | None, keys: Keys, named: bool = True
) -> list[Diagnostic]:  # fmt: skip
    """What is wrong with attributes that a recipe names, on data that have those of `names`; None: none are read.

    `named` says whether they are keys themselves, below `keys`.
    """
    if names is None:
        remedy = "say by `data.attributes` where they are"
        return [Diagnostic(keys, "must go with data that have attributes", "data without", remedy)]
    there = [composed(each) for each in names]
    return [
        Diagnostic((*keys, name) if named else keys, "must be an attribute of the data", show(name), nearest(name, names))
        for name in wanted
        if composed(name) not in there
    ]


def nobody_has(keys: Keys, wanted: Mapping[str, bool], thinned: bool) -> Diagnostic:
    """No example fits a constraint's attributes; or, where `thinned`, only some that are not trained on."""
    received = f"none for {show(dict(wanted))}" + (" after `keep` and `holdout`" if thinned else ", which no example fits")
    return Diagnostic(
        keys, "must have examples to train on", received, "ask for fewer attributes, or give examples that have them"
    )


def no_caption_fits(keys: Keys, patterns: Sequence[str], thinned: bool) -> Diagnostic:
    """No caption fits a constraint's patterns; or, where `thinned`, only those of examples that are not trained on."""
    received = f"none for {show(list(patterns))}" + (" after `keep` and `holdout`" if thinned else ", which no caption fits")
    return Diagnostic(keys, "must have examples to train on", received, 'write another pattern, e.g. "*four*"')
