"""What a saved Hugging Face data set holds, from its Arrow files alone: its classes' counts, and a look at its images."""

from __future__ import annotations

import io
import json
from functools import partial
from pathlib import Path
from typing import Any

from dualsweep.trainer.data.dataset_info import Look, spread_out
from dualsweep.trainer.data.looking import HEADERS, Item, look
from dualsweep.trainer.data.saved_dataset import Saved
from dualsweep.trainer.recipe.source_options import SourceOptions


def contents(saved: Saved, name: str, options: SourceOptions) -> tuple[int | None, tuple[int, ...] | None, Look | None]:
    """How many examples there are, how many of each class, and what some are like; None of each where that is not plain to see:
    without Arrow, of rows that were selected or shuffled after they were written, or of columns of another kind.

    Raises:
        BadDataError: an image can't be read, or is of another size than the first.
    """
    try:
        table = _table(saved.directory)
    except (ImportError, OSError, ValueError, KeyError):  # what is to be said of them is said where they are loaded
        return None, None, None
    if table is None:
        return None, None, None
    names = saved.class_names.get(str(options.label_column))
    counts = _counts(table[options.label_column], len(names)) if names is not None else None
    return table.num_rows, counts, _looked(table[options.image_column], name, options)


def _table(directory: Path) -> Any:
    """All rows, which stay on the disk until they are asked for."""
    import pyarrow as pa

    state = json.loads((directory / "state.json").read_text(encoding="utf-8"))
    if state.get("_indices_files"):
        return None
    parts = [pa.memory_map(str(directory / each["filename"])) for each in state["_data_files"]]
    return pa.concat_tables([pa.ipc.open_stream(part).read_all() for part in parts])


def _counts(column: Any, classes: int) -> tuple[int, ...] | None:
    """How often each of the labels 0..classes-1 stands in a column; None where others do."""
    if column.null_count or not len(column):
        return None
    counts = [0] * classes
    for chunk in column.chunks:
        labels = chunk.to_numpy(zero_copy_only=False)
        if labels.dtype.kind not in "iu" or (len(labels) and not 0 <= labels.min() <= labels.max() < classes):
            return None
        for label in range(classes):
            counts[label] += int((labels == label).sum())
    return tuple(counts)


def _looked(column: Any, name: str, options: SourceOptions) -> Look | None:
    """A look at a column of encoded images; None of another column, or of images that lie in files of their own."""
    rows = spread_out(len(column), HEADERS)
    values = [column[row].as_py() for row in rows]
    if not values or not all(isinstance(value, dict) and value.get("bytes") for value in values):
        return None
    keys = ("data", "image_column")
    items = [
        Item(f"row {row} of {name}", keys, partial(io.BytesIO, value["bytes"])) for row, value in zip(rows, values, strict=True)
    ]
    return look(items, options.size, options.grey)
