"""What a source of data is to a recipe: one key, the schema of its value, what is known of it, and how it is loaded.

Each source is one file of `trainer/data/sources/` that holds a `SOURCE`; nothing else names it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dualsweep.trainer.data.dataset_info import DatasetInfo
from dualsweep.trainer.recipe.source_options import SourceOptions

if TYPE_CHECKING:
    from dualsweep.trainer.data.examples import Examples


@dataclass(frozen=True)
class SourceSpec:
    """A source of data.

    word         its key in `data`
    value        the type of its value, as pydantic understands it
    inspect      (value, options) -> what is known of the data within moments; raises BadDataError where they are not there
    load         (value, options) -> the whole data set, before `keep` and `holdout`; raises BadDataError where it cannot be had
    description, example   what errors and the guide show
    options      the keys of `SourceOptions` that it heeds; a recipe that gives another is refused
    conclusive   whether `inspect` tells all that there is to know, so that no check needs to load the data
    function     value -> the import path of a user's function without arguments
    passed_over  value -> names of the files beside the data that are not counted
    """

    word: str
    value: Any
    inspect: Callable[[Any, SourceOptions], DatasetInfo]
    load: Callable[[Any, SourceOptions], Examples]
    description: str
    example: str
    options: tuple[str, ...] = ()
    conclusive: bool = False
    function: Callable[[Any], str | None] = lambda value: None
    passed_over: Callable[[Any], Sequence[str]] = lambda value: ()
