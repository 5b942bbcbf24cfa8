"""From what a recipe says of its data to the examples themselves."""

from __future__ import annotations

from dualsweep.trainer.data import digits, huggingface, image_folder, user_dataset
from dualsweep.trainer.data.examples import Examples
from dualsweep.trainer.recipe.data import Data


def load(data: Data) -> Examples:
    """The whole data set, before `keep` and `holdout`.

    Raises:
        BadDataError: there is no such data, it cannot be read, or (of what is kept in memory) it is not finite.
    """
    if data.folder is not None:
        return image_folder.load(data.folder, data.size, data.grey)
    if data.dataset is not None:
        return huggingface.load(data)
    if data.call is not None:
        return user_dataset.load(data.call)
    return digits.load()
