"""Labels as they come, whole numbers or words, as numbers 0..K-1 with names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dualsweep.trainer.data.class_names import composed, ordered
from dualsweep.trainer.data.examples import Integers, Origin
from dualsweep.trainer.recipe.base import ClassName


def word(label: Any, row: int, origin: Origin) -> ClassName:
    """One label as a plain int or str.

    Raises:
        BadDataError: it is neither, nor an array that holds one of them.
    """
    single = hasattr(label, "item") and tuple(getattr(label, "shape", ())) in ((), (1,))
    plain = label.item() if single else label
    if isinstance(plain, int):
        return int(plain)  # a truth value is a number here
    if isinstance(plain, str):
        return composed(plain)
    received = f"a label of type {type(plain).__name__}"
    raise origin.fault(row, "must have labels that are whole numbers or words", received, "convert the labels")


def number(words: Sequence[ClassName]) -> tuple[Integers, tuple[ClassName, ...]]:
    """Labels [N] and class names: the distinct words in order; label k is names[k]."""
    distinct = set(words)
    numbers = sorted(each for each in distinct if isinstance(each, int))
    names = tuple(numbers) if len(numbers) == len(distinct) else ordered({str(each) for each in distinct})
    position = {str(name): label for label, name in enumerate(names)}
    return np.array([position[str(each)] for each in words], dtype=np.int64), names
