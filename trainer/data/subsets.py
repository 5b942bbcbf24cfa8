"""The data of a constraint, q_i: classes or positions of the data set, or a data set of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dualsweep.trainer.config.diagnostics import Diagnostic, Keys
from dualsweep.trainer.config.import_path import CannotImportError, import_callable, takes
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.data import user_dataset
from dualsweep.trainer.data.captions import matching
from dualsweep.trainer.data.division import Split, draw_held_out, label_of, thin
from dualsweep.trainer.data.examples import Examples, Integers
from dualsweep.trainer.data.faults import (
    BadDataError,
    attribute_faults,
    no_caption_fits,
    nobody_has,
    nothing_kept,
    without_captions,
    without_labels,
)
from dualsweep.trainer.recipe.data import Subset


@dataclass(frozen=True)
class SubsetRows:
    """Sorted rows of `examples`, or of the split's examples where `examples` is None (all but a data set of its own).

    `train` is never empty; `held_out` is empty without `holdout`, and may be where the constraint's data is small.
    """

    train: Integers
    held_out: Integers
    examples: Examples | None = None


def subset(subset: Subset, split: Split, keys: Keys) -> SubsetRows:
    """The rows of one constraint. `keys` lead to it in the recipe, e.g. ("constraints", 0, "data").

    - `classes`: those rows of `split.train` that are of these classes. What `keep` thinned away is not in the world the
      model is trained in, so it is not here either. Held out: the rows of `split.held_out` of these classes, as many as
      there are while the classes stand in the same proportion as in training.
    - `captions`: those rows whose caption fits one of the patterns, likewise.
    - `attributes`: those rows that have, or have not, all of these, likewise. Rows may be of several constraints.
    - `indices`, and `call` with `(labels) -> mask [N] or indices`: positions in the data set as it is before `keep`. They
      are the constraint's even where `keep` thinned them out of the objective: "learn from many, but be good on these".
      Those held out go to the held-out part. `labels` [N] are class names, as the recipe writes them.
    - `call` with `() -> Dataset`: a data set of its own, of which the share `holdout` is held out.

    Raises:
        BadDataError: there is nothing to train on, a class or position is not in the data, or the user's function fails.
    """
    if subset.classes is not None:
        return _of_classes(subset, split, keys)
    if subset.captions is not None:
        return _of_captions(subset.captions, split, (*keys, "captions"))
    if subset.attributes is not None:
        return _of_attributes(subset.attributes, split, (*keys, "attributes"))
    if subset.indices is not None:
        rows = np.array(subset.indices, dtype=np.int64)
        return _of_rows(rows, split, (*keys, "indices"), show(subset.indices))
    return _of_call(str(subset.call), split, (*keys, "call"))


def _of_classes(subset: Subset, split: Split, keys: Keys) -> SubsetRows:
    keys, names = (*keys, "classes"), subset.classes or []
    chosen = np.unique([label_of(name, split.examples, (*keys, position)) for position, name in enumerate(names)])
    labels = split.examples.labels
    if labels is None:  # `label_of` has refused it; this tells mypy
        raise ValueError("must have labels, but got none")
    fits = np.isin(labels, chosen)
    train = split.train[fits[split.train]]
    if not len(train):
        raise BadDataError(nothing_kept(keys, names, thinned=bool((split.shares[chosen] == 0).any())))
    return _proportioned(train, fits, split)


def _proportioned(train: Integers, fits: NDArray[np.bool_], split: Split) -> SubsetRows:
    """With those held out that fit [N], as many as there are while classes stand in the same proportion as in training."""
    labels, held_out = split.examples.labels, split.held_out
    if labels is not None:
        # Only the classes' proportion matters to q_i: where all of them are kept by the same share, no held-out row need go.
        largest = float(split.shares[labels[train]].max())
        held_out = thin(held_out, labels, split.ranks, np.minimum(split.shares / largest, 1.0))
    return SubsetRows(train, held_out[fits[held_out]])


def _of_captions(patterns: list[str], split: Split, keys: Keys) -> SubsetRows:
    captions = split.examples.captions
    if captions is None:
        raise BadDataError(without_captions(keys))
    fits = np.append(matching(captions.texts, patterns), False)[captions.of]  # the last stands for none
    train = split.train[fits[split.train]]
    if not len(train):
        raise BadDataError(no_caption_fits(keys, patterns, thinned=bool(fits.any())))
    return _proportioned(train, fits, split)


def _of_attributes(wanted: dict[str, bool], split: Split, keys: Keys) -> SubsetRows:
    attributes = split.examples.attributes
    if faults := attribute_faults(wanted, attributes.names if attributes is not None else None, keys):
        raise BadDataError(*faults)
    assert attributes is not None  # else there are faults
    fits = attributes.having(wanted)
    train = split.train[fits[split.train]]
    if not len(train):
        raise BadDataError(nobody_has(keys, wanted, thinned=bool(fits.any())))
    return _proportioned(train, fits, split)


def _of_rows(rows: Integers, split: Split, keys: Keys, received: str) -> SubsetRows:
    count = len(split.examples)
    if len(rows) and (rows.min() < 0 or rows.max() >= count):
        outside = int(rows[(rows < 0) | (rows >= count)][0])
        raise BadDataError(Diagnostic(keys, f"must be positions from 0 to {count - 1}", str(outside), "leave it out"))
    distinct, times = np.unique(rows, return_counts=True)
    if len(distinct) < len(rows):
        raise BadDataError(
            Diagnostic(keys, "must hold each position once", f"{distinct[times > 1][0]} twice", "leave the second out")
        )
    held = np.isin(distinct, split.held_out)
    if held.all():
        what = f"{received}, all of them held out" if len(rows) else received
        raise BadDataError(Diagnostic(keys, "must have examples to train on", what, "give more, or lower `data.holdout`"))
    return SubsetRows(distinct[~held], distinct[held])


def _of_call(path: str, split: Split, keys: Keys) -> SubsetRows:
    try:
        function = import_callable(path)
    except CannotImportError as error:
        raise BadDataError(error.diagnostic.at(keys)) from error
    if not takes(function, 0):
        return _of_rows(*_selected(function, path, split, keys))
    own = user_dataset.to_examples(user_dataset.invoke(function, path, keys), path, keys)
    if own.shape != split.examples.shape:
        received = f"{list(own.shape)}, where the data has {list(split.examples.shape)}"
        raise BadDataError(
            Diagnostic(keys, "must hold examples of the same shape as the data", received, "convert them in that function")
        )
    _, held = draw_held_out(np.zeros(len(own), dtype=np.int64), split.holdout, split.seed)
    everything = np.arange(len(own), dtype=np.int64)
    return SubsetRows(everything[~held], everything[held], own)


def _selected(function: Any, path: str, split: Split, keys: Keys) -> tuple[Integers, Split, Keys, str]:
    """Positions from a user's `(labels) -> mask or indices`, and the rest of `_of_rows`'s arguments."""
    labels, count = split.examples.labels, len(split.examples)
    if labels is None:
        raise BadDataError(without_labels(keys, path))
    names = np.array(split.examples.class_names)
    result = user_dataset.invoke(function, path, keys, names[labels])
    if isinstance(result, list | tuple | torch.Tensor):
        result = np.asarray(result)
    good = isinstance(result, np.ndarray) and result.ndim == 1
    if good and result.dtype == np.bool_ and len(result) == count:
        rows = np.flatnonzero(result)
    elif good and (np.issubdtype(result.dtype, np.integer) or not len(result)):
        rows = result.astype(np.int64)
    else:
        received = f"{result.dtype}{list(result.shape)}" if isinstance(result, np.ndarray) else f"a {type(result).__name__}"
        rule = f"must return a mask of {count} truth values, or positions"
        raise BadDataError(Diagnostic(keys, rule, received, "return e.g. `labels == 4`"))
    return rows, split, keys, f"no position from {path} (labels are class names such as {show(names[0].item())})"
