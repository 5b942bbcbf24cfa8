"""The user's own data set, by import path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualsweep.trainer.data.dataset_info import DatasetInfo
from dualsweep.trainer.data.source_spec import SourceSpec
from dualsweep.trainer.recipe.base import ImportPath
from dualsweep.trainer.recipe.source_options import SourceOptions

if TYPE_CHECKING:
    from dualsweep.trainer.data.examples import Examples


def _load(path: str, _: SourceOptions) -> Examples:
    from dualsweep.trainer.data import user_dataset

    return user_dataset.load(path)


SOURCE = SourceSpec(
    word="call",
    value=ImportPath,
    inspect=lambda path, options: DatasetInfo(),
    load=_load,
    description="the import path of a function `() -> Dataset` of x or (x, label), x in [-1, 1]",
    example="my_data:load",
    function=lambda path: path,
)
