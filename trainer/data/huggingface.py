"""Hugging Face data sets: by hub id, or from a local directory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.config.wording import nearest
from dualsweep.trainer.data.attributes import Attributes, fields, listed, tabulated
from dualsweep.trainer.data.captions import among, checked
from dualsweep.trainer.data.class_names import as_declared
from dualsweep.trainer.data.examples import Examples, Integers, Origin, from_reader
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.data.labels import number, word
from dualsweep.trainer.data.readers import ColumnReader
from dualsweep.trainer.data.saved_dataset import is_saved, local, split_directory
from dualsweep.trainer.data.scaling import scaled
from dualsweep.trainer.recipe.base import ClassName
from dualsweep.trainer.recipe.source_options import SourceOptions

_DATASET, _IMAGE, _LABEL = ("data", "dataset"), ("data", "image_column"), ("data", "label_column")


def load(name: str, options: SourceOptions) -> Examples:
    """One split of the data set of that id or path: images from `image_column`, classes from `label_column`.

    The image column holds images, or arrays as `pixels.from_array` takes them; the label column holds class labels, whole
    numbers or words. Where the names of the classes are all whole numbers, they are those numbers: `{4: 0.1}`, not `{"4": 0.1}`.

    Raises:
        BadDataError: it does not load, lacks a column, or an image or label cannot be read.
    """
    dataset = _open(name, options.split)
    if not len(dataset):
        raise _empty(name)
    for key, column in options.columns:
        if column not in dataset.column_names:
            raise BadDataError(
                Diagnostic(
                    ("data", key), "must be a column of the data set", f"'{column}'", nearest(column, dataset.column_names)
                )
            )
    labels, names = (None, ()) if options.label_column is None else _labels(dataset, options.label_column)
    origin = Origin(_IMAGE, lambda row: f"row {row} of {name}")
    reader = _reader(dataset, options)
    examples = from_reader(_checked(reader, origin), len(dataset), origin, labels, names, in_threads=True, reader=reader)
    if options.captions is not None:
        texts = dataset.with_format(None)[options.captions][:]
        examples = replace(examples, captions=among([checked(text, f"row {row} of {name}") for row, text in enumerate(texts)]))
    if options.attributes is not None:
        examples = replace(examples, attributes=_attributes(dataset, name, options.attributes))
    return examples


def _attributes(dataset: Any, name: str, source: str | list[str]) -> Attributes:
    columns = {column: _in_words(dataset, column) for column in fields(source)}
    rows = zip(*columns.values(), strict=True)
    return tabulated(
        listed(((dict(zip(columns, row, strict=True)), f"row {number} of {name}") for number, row in enumerate(rows)), source)
    )


def _in_words(dataset: Any, column: str) -> list[Any]:
    """A column's values, class labels in it as the words that they stand for."""
    values, feature = dataset.with_format(None)[column][:], dataset.features[column]
    if names := getattr(feature, "names", None):
        return [names[value] if value is not None and value >= 0 else None for value in values]
    if names := getattr(getattr(feature, "feature", None), "names", None):
        return [[names[each] for each in value] if value is not None else None for value in values]
    return list(values)


def _empty(name: str) -> BadDataError:
    return BadDataError(Diagnostic(_DATASET, "must hold examples", f"none in {name}", "give another, or another `split`"))


def _open(name: str, split: str) -> Any:
    path = local(name)
    import datasets  # here: it takes seconds that other sources need not spend

    try:
        if path is not None and is_saved(path):
            return datasets.load_from_disk(str(split_directory(path, split)))
        return datasets.load_dataset(str(path or name), split=split)
    except BadDataError:
        raise
    except IndexError as error:  # the library's own of a directory that was saved without a row
        raise _empty(name) from error
    except Exception as error:  # of the network, of the hub, of Arrow, of a split's name: all with words of their own
        received = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        remedy = "fix `dataset` or `split`, or give the path of a directory written by `save_to_disk`"
        raise BadDataError(
            Diagnostic(_DATASET, f"must be a data set that loads with the split '{split}'", received, remedy)
        ) from error


def _labels(dataset: Any, column: str) -> tuple[Integers, tuple[ClassName, ...]]:
    origin = Origin(_LABEL, lambda row: f"row {row} of column `{column}`")
    words = [word(label, row, origin) for row, label in enumerate(dataset.with_format(None)[column][:])]
    names = getattr(dataset.features[column], "names", None)
    if not names:
        return number(words)
    labels = np.array(words, dtype=np.int64)
    if (labels < 0).any():  # how Hugging Face writes the hidden labels of a test split
        row = int(np.flatnonzero(labels < 0)[0])
        raise origin.fault(row, "must have a class in every row", str(labels[row]), "use another split, or no `label_column`")
    return labels, as_declared(names)


def _reader(dataset: Any, options: SourceOptions) -> ColumnReader:
    import datasets

    column = options.image_column
    is_image = isinstance(dataset.features[column], datasets.Image)
    plain = dataset.select_columns([column]).with_format(None if is_image else "numpy")
    return ColumnReader(plain, column, options.size, options.grey)


def _checked(reader: ColumnReader, origin: Origin) -> Callable[[int], torch.Tensor]:
    def read(row: int) -> torch.Tensor:
        try:
            return scaled(torch.from_numpy(reader(row)))
        except Exception as error:  # a damaged image, or an array that is none
            received = f"{type(error).__name__}: {error}"
            raise origin.fault(row, "must hold images", received, "fix or leave out that row") from error

    return read
