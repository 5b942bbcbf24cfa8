"""What `data.keep` and `data.holdout` leave of each class, where the counts are known. Plain Python: the checks use it."""

from __future__ import annotations

from dualsweep.trainer.data.class_names import find, same
from dualsweep.trainer.data.dataset_info import DatasetInfo
from dualsweep.trainer.data.portions import portion, stays
from dualsweep.trainer.recipe.base import ClassName
from dualsweep.trainer.recipe.data import Data


def kept(data: Data, known: DatasetInfo, name: ClassName) -> int:
    """How many examples of a class are trained on; 0 where the counts are not known."""
    label = find(name, known.class_names or ())
    if label is None or known.counts is None:
        return 0
    return portion(stays(known.counts[label], data.holdout), share(data, name))


def share(data: Data, name: ClassName) -> float:
    """The share of a class that is kept."""
    return next((part for each, part in data.keep.items() if same(each, name)), 1.0)


def kept_by_class(data: Data, known: DatasetInfo) -> dict[ClassName, int]:
    """The examples of each class that are trained on; none where the counts are not known."""
    return {name: kept(data, known, name) for name in known.class_names or ()} if known.counts is not None else {}
