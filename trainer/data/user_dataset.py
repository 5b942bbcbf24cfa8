"""The user's own data set, by import path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from dualsweep.trainer.config.diagnostics import Diagnostic, Keys
from dualsweep.trainer.config.import_path import CannotImportError, import_callable
from dualsweep.trainer.data.examples import Examples, InMemory, Origin, from_reader, from_tensor
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.data.labels import number, word
from dualsweep.trainer.recipe.base import ClassName

_ACCEPTED = "return a torch Dataset (or any sequence) of x or (x, label), a tensor [N, ...], or (tensor, labels [N])"


def load(path: str, keys: Keys = ("data", "call")) -> Examples:
    """What the function at `path` returns. `keys` lead to it in the recipe, for errors.

    Raises:
        BadDataError: it does not import, fails, or returns no data.
    """
    try:
        function = import_callable(path)
    except CannotImportError as error:
        raise BadDataError(error.diagnostic.at(keys)) from error
    return to_examples(invoke(function, path, keys), path, keys)


def invoke(function: Any, path: str, keys: Keys, *arguments: object) -> Any:
    """Calls a user's function; what it raises becomes `BadDataError`, with its own error as the cause."""
    try:
        return function(*arguments)
    except (Exception, SystemExit) as error:
        received = f"{type(error).__name__} from {path}: {error}"
        raise BadDataError(Diagnostic(keys, "must be a function that returns data", received, "fix that function")) from error


def to_examples(result: Any, path: str, keys: Keys) -> Examples:
    """A user's data set as `Examples`.

    Its items are x or (x, label): x an array or tensor of floating-point numbers, images [C, H, W] or [H, W] in [-1, 1];
    labels are whole numbers or words. Each item is read once where the data fits into memory, else when it is fetched,
    always by one thread at a time, since a data set need not bear more. A larger one with labels is read through once for
    them, unless it has them all as `targets`, as torchvision's data sets do.

    Raises:
        BadDataError: it is of another form.
    """
    origin = Origin(keys, partial(_item, path))
    if isinstance(result, torch.Tensor | np.ndarray):
        return from_tensor(_batch(result, origin), None, (), origin)
    if _is_pair(result):
        images, labels = _batch(result[0], origin), _listed(result[1])
        if len(images) != len(labels):
            received = f"{len(images)} examples and {len(labels)} labels"
            raise BadDataError(
                Diagnostic(keys, "must have one label for each example", received, "give labels [N] for a tensor [N, ...]")
            )
        return from_tensor(images, *number([word(label, row, origin) for row, label in enumerate(labels)]), origin)
    if not (hasattr(result, "__len__") and hasattr(result, "__getitem__")):
        raise BadDataError(
            Diagnostic(keys, "must lead to a data set with a length and items by number", _kind(result), _ACCEPTED)
        )
    try:
        len(result)
    except Exception as error:
        received = f"{type(error).__name__} from its length: {error}"
        raise BadDataError(Diagnostic(keys, "must lead to a data set with a length", received, "fix its __len__")) from error
    return _from_items(result, origin)


def _item(path: str, row: int) -> str:
    return f"item {row} of {path}"


class _Reader:
    """Reads items one by one, noting their labels on the way, which do not go with it to another process."""

    def __init__(self, items: Any, origin: Origin) -> None:
        self.items, self.origin = items, origin
        self.labels: dict[int, ClassName] = {}
        self.labelled = bool(len(items)) and _parts(self._item(0)) == 2

    def __call__(self, row: int) -> torch.Tensor:
        item = self._item(row)
        parts = _parts(item)
        if parts > 2 or (parts == 2) != self.labelled:
            received = f"{_kind(item)} of {parts}" + (" after x and label" if self.labelled else "")
            raise self.origin.fault(row, "must hold items that are all x, or all (x, label)", received, _ACCEPTED)
        if parts == 2:
            self.labels[row] = word(item[1], row, self.origin)
        return _example(item[0] if parts else item, row, self.origin)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "labels": {}}

    def _item(self, row: int) -> Any:
        try:
            return self.items[row]
        except Exception as error:
            received = f"{type(error).__name__}: {error}"
            raise self.origin.fault(row, "must be readable item by item", received, "fix that data set") from error


def _from_items(items: Any, origin: Origin) -> Examples:
    reader, count = _Reader(items, origin), len(items)
    examples = from_reader(reader, count, origin, reader=reader)
    if not reader.labelled:
        return examples
    words = None if isinstance(examples, InMemory) else _targets(items, count, origin)
    if words is None:
        for row in range(count):
            if row not in reader.labels:
                reader(row)
        words = [reader.labels[row] for row in range(count)]
    labels, names = number(words)
    return replace(examples, labels=labels, class_names=names)


def _targets(items: Any, count: int, origin: Origin) -> list[ClassName] | None:
    """All labels at once, where the data set has them as torchvision's do and does not transform them afterwards."""
    targets = getattr(items, "targets", None)
    if getattr(items, "target_transform", None) is not None or not _is_flat(targets):
        return None
    listed = _listed(targets)
    return [word(label, row, origin) for row, label in enumerate(listed)] if len(listed) == count else None


def _parts(item: Any) -> int:
    """How many parts an item has; 0 where it is x itself."""
    return len(item) if isinstance(item, tuple | list) else 0


def _example(x: Any, row: int, origin: Origin) -> torch.Tensor:
    if not isinstance(x, torch.Tensor | np.ndarray):
        raise origin.fault(row, "must hold arrays or tensors", _kind(x), "convert each item to a tensor in [-1, 1]")
    tensor = _tensor(x)
    if tensor is None or not tensor.is_floating_point():
        raise origin.fault(row, _FLOATING, *_odd(x, tensor))
    if tensor.ndim == 0:
        raise origin.fault(row, "must hold vectors, images or other arrays", "a single number", "give it one dimension, [1]")
    if 0 in tensor.shape:
        raise origin.fault(row, _SOME, f"an array of shape {list(tensor.shape)}", "leave no side empty")
    if _is_channels_last(tensor.shape):
        raise origin.fault(row, _CHANNELS_FIRST, f"{list(tensor.shape)}, whose channels come last", "use x.permute(2, 0, 1)")
    return (tensor[None] if tensor.ndim == 2 else tensor).float()


_CHANNELS_FIRST, _SOME = "must hold images [C, H, W]", "must hold at least one number in each example"


def _is_channels_last(shape: Sequence[int]) -> bool:
    """Whether an example is a square image [H, W, C], which would be trained on as one of H channels."""
    return len(shape) == 3 and shape[0] == shape[1] > 4 and shape[2] in (1, 3, 4)


_FLOATING = "must hold floating-point numbers, images in [-1, 1]"


def _tensor(x: torch.Tensor | np.ndarray[Any, Any]) -> torch.Tensor | None:
    """The array as a dense tensor on the CPU; None where it is none, or holds objects, words, dates or records."""
    if isinstance(x, torch.Tensor):
        return x.detach().cpu() if x.layout is torch.strided and not x.is_meta and not x.is_nested else None
    try:  # of this machine's byte order, in one piece and writable, which torch asks for
        array = np.asarray(x, dtype=x.dtype.newbyteorder("="), order="C")
        return torch.from_numpy(array if array.flags.writeable else array.copy())
    except (TypeError, ValueError):
        return None


def _odd(x: Any, tensor: torch.Tensor | None) -> tuple[str, str]:
    """What was received where floating-point numbers belong, and the way out."""
    if tensor is None and isinstance(x, torch.Tensor):
        kind = "nested" if x.is_nested else "meta" if x.is_meta else str(x.layout).removeprefix("torch.")
        return f"a {kind} tensor", "give a dense one that holds its numbers"
    if tensor is None:
        return f"an array of {x.dtype}", "convert it to one array of numbers, e.g. by numpy.stack"
    return str(tensor.dtype), "scale pixels: x / 127.5 - 1"


def _batch(x: Any, origin: Origin) -> torch.Tensor:
    tensor = _tensor(x)
    if tensor is None or not tensor.is_floating_point():
        raise BadDataError(Diagnostic(origin.keys, _FLOATING, *_odd(x, tensor)))
    if tensor.ndim < 2:
        received = f"a tensor of shape {list(tensor.shape)}"
        raise BadDataError(
            Diagnostic(origin.keys, "must hold examples [N, ...]", received, "give each example a dimension of its own")
        )
    if 0 in tensor.shape[1:]:
        received = f"a tensor of shape {list(tensor.shape)}"
        raise BadDataError(Diagnostic(origin.keys, _SOME, received, "leave no side empty"))
    if _is_channels_last(tensor.shape[1:]):
        received = f"{list(tensor.shape)}, whose channels come last"
        raise BadDataError(Diagnostic(origin.keys, _CHANNELS_FIRST, received, "use x.permute(0, 3, 1, 2)"))
    return (tensor[:, None] if tensor.ndim == 3 else tensor).float().contiguous()


def _is_pair(result: Any) -> bool:
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], torch.Tensor | np.ndarray)):
        return False
    return result[0].ndim >= 2 and _is_flat(result[1])


def _is_flat(labels: Any) -> bool:
    if isinstance(labels, torch.Tensor | np.ndarray):
        return labels.ndim == 1
    return isinstance(labels, list | tuple) and not any(isinstance(label, list | tuple) for label in labels[:1])


def _listed(labels: Any) -> Sequence[Any]:
    listed: Sequence[Any] = labels.tolist() if isinstance(labels, torch.Tensor | np.ndarray) else labels
    return listed


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"
