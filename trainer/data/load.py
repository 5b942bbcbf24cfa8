"""From what a recipe says of its data to what is known of them, and to the examples themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualsweep.trainer.data.dataset_info import DatasetInfo
from dualsweep.trainer.recipe.data import Data

if TYPE_CHECKING:
    from dualsweep.trainer.data.examples import Examples


def inspect(data: Data) -> DatasetInfo:
    """What the names of files and the small files beside the data tell; nothing heavy is imported.

    Raises:
        BadDataError: the data is not there, or lacks what the recipe asks of it.
    """
    source, value = data.named
    return source.inspect(value, data)


def load(data: Data) -> Examples:
    """The whole data set, before `keep` and `holdout`.

    Raises:
        BadDataError: there is no such data, it cannot be read, or (of what is kept in memory) it is not finite.
    """
    source, value = data.named
    return source.load(value, data)
