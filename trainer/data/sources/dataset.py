"""Hugging Face data sets, by hub id or from a local directory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.config.wording import nearest
from dualsweep.trainer.data.dataset_info import DatasetInfo, image_shape
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.data.saved_dataset import Saved, describe, is_saved, local
from dualsweep.trainer.data.saved_look import contents
from dualsweep.trainer.data.source_spec import SourceSpec
from dualsweep.trainer.recipe.base import Text
from dualsweep.trainer.recipe.source_options import SourceOptions

if TYPE_CHECKING:
    from dualsweep.trainer.data.examples import Examples

_WHOLE = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def _inspect(dataset: str, options: SourceOptions) -> DatasetInfo:
    shape = image_shape(options.size, options.grey)
    labelled = options.label_column is not None
    unknown = DatasetInfo(labelled, None if labelled else (), shape=shape)
    path = local(dataset)
    if path is None:
        if not _HUB_ID.fullmatch(dataset):
            remedy = "write e.g. `ylecun/mnist`, or the path of a directory"
            raise BadDataError(
                Diagnostic(("data", "dataset"), "must be a hub id or a local path that exists", f"'{dataset}'", remedy)
            )
        return unknown
    if not is_saved(path):
        return unknown
    saved = describe(path, options.split)
    faults = [
        Diagnostic(("data", key), "must be a column of the data set", f"'{column}'", nearest(column, saved.columns))
        for key, column in options.columns
        if saved.columns and column not in saved.columns
    ]
    if faults := [*faults, *_kind_faults(saved, options)]:
        raise BadDataError(*faults)
    names = saved.class_names.get(str(options.label_column)) if labelled else ()
    total, counts, seen = contents(saved, dataset, options)
    return DatasetInfo(labelled, names, counts, total, seen.shape if seen is not None else shape, look=seen)


def _kind_faults(saved: Saved, options: SourceOptions) -> Iterator[Diagnostic]:
    """Columns of single values of another kind than is asked of them; of other columns the kind is not looked at."""
    asked = (
        ("captions", options.captions, ("string", "large_string"), "a column of texts"),
        ("label_column", options.label_column, ("string", "large_string", "classlabel", "bool", *_WHOLE), "a column of classes"),
        ("image_column", options.image_column, ("image",), "a column of images"),
    )
    for key, column, fit, what in asked:
        kind = saved.kinds.get(str(column))
        if kind is not None and kind not in fit:
            remedy = nearest(column, [each for each, other in saved.kinds.items() if other in fit])
            if (key, kind) == ("image_column", "binary"):
                remedy = f"say what the bytes are by dataset.cast_column('{column}', datasets.Image()), and save it again"
            yield Diagnostic(("data", key), f"must be {what}", f"'{column}', whose values are {kind}", remedy)


def _load(dataset: str, options: SourceOptions) -> Examples:
    from dualsweep.trainer.data import huggingface

    return huggingface.load(dataset, options)


SOURCE = SourceSpec(
    word="dataset",
    value=Text,
    inspect=_inspect,
    load=_load,
    description="a Hugging Face datasets id, or a local path of one",
    example="ylecun/mnist",
    options=("split", "image_column", "label_column", "captions", "attributes", "size", "grey"),
)
