"""The names of classes: how folders, columns and recipes spell them, and how they are found again."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from dualsweep.trainer.recipe.base import ClassName


def ordered(names: Iterable[str]) -> tuple[ClassName, ...]:
    """Class names in order: whole numbers, by value, where all of them are ("10" after "9"), else words, sorted."""
    words = list(names)
    if all(is_number(word) for word in words):
        return tuple(sorted(int(word) for word in words))
    return tuple(sorted(words))


def as_declared(names: Sequence[str]) -> tuple[ClassName, ...]:
    """Class names whose order is given; whole numbers where all of them are."""
    return tuple(int(name) for name in names) if all(is_number(name) for name in names) else tuple(map(composed, names))


def find(name: ClassName, names: Sequence[ClassName]) -> int | None:
    """The label of the class that a recipe calls `name`, or None: `same` names, whatever their types and forms."""
    return next((label for label, each in enumerate(names) if same(each, name)), None)


def same(one: ClassName, other: ClassName) -> bool:
    """Whether two names are of one class: a number and its digits are, and a word and its other Unicode form."""
    return composed(str(one)) == composed(str(other))


def composed(word: str) -> str:
    """A word in composed form (NFC): file systems and archives may spell an accented letter as letter and accent."""
    return unicodedata.normalize("NFC", word)


def is_number(word: str) -> bool:
    """Whether `word` is how a whole number is written: "7", but not "007", which would then be lost."""
    return word.isascii() and word.isdigit() and str(int(word)) == word
