"""Examples as the trainer sees them: numbered rows, fetched as tensors; kept in memory where they fit, else read on demand."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from dualsweep.trainer.config.diagnostics import Diagnostic, Keys, dotted
from dualsweep.trainer.data.attributes import Attributes
from dualsweep.trainer.data.captions import Captions
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.data.readers import Reader
from dualsweep.trainer.recipe.base import ClassName

Integers = NDArray[np.int64]

IN_MEMORY_BYTES = 2**30
"""Data sets up to this size, as float32, are read once and kept."""

_CHUNK = 1024
#: The dimensions of a batch of images.
_IMAGES = 4
#: Beyond what resampling overshoots, and within what images scaled to mean 0 and deviation 1 reach.
_FAR_OUTSIDE = 1.5
#: Images that tell by their range how they are scaled.
_ENOUGH = 16
_log = logging.getLogger(__name__)
_MOST_THREADS = 8


class Examples(Protocol):
    """N examples, numbered 0..N-1, of one shape."""

    def __len__(self) -> int: ...

    @property
    def labels(self) -> Integers | None:
        """[N], label k is `class_names[k]`, -1 is of no class; None where the data has no labels."""
        ...

    @property
    def class_names(self) -> tuple[ClassName, ...]:
        """The classes as a recipe names them; empty without labels."""
        ...

    @property
    def captions(self) -> Captions | None:
        """The text of each example; None where the recipe asks for none."""
        ...

    @property
    def attributes(self) -> Attributes | None:
        """What each example has; None where the recipe asks for none."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example: (C, H, W) for images; another number of axes comes from `call` alone."""
        ...

    def fetch(self, rows: Integers) -> torch.Tensor:
        """The examples of these rows, [B, *shape] float32, images in [-1, 1].

        Raises:
            BadDataError: an example is not finite, of another shape than the first, or cannot be read.
        """
        ...


@dataclass(frozen=True)
class Origin:
    """Where rows come from, for errors: the recipe's key, and the words for one row (a file, a position)."""

    keys: Keys
    name: Callable[[int], str]

    def fault(self, row: int, rule: str, received: str, remedy: str) -> BadDataError:
        return BadDataError(Diagnostic(self.keys, rule, f"{received} in {self.name(row)}", remedy))


@dataclass(frozen=True, eq=False)
class InMemory:
    """All examples as one tensor [N, *shape]; `reader` is what they were read by, where they were read one by one."""

    images: torch.Tensor
    labels: Integers | None = None
    class_names: tuple[ClassName, ...] = ()
    captions: Captions | None = None
    attributes: Attributes | None = None
    reader: Reader | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.images.shape[1:])

    def fetch(self, rows: Integers) -> torch.Tensor:
        return self.images[torch.from_numpy(rows)]


@dataclass(frozen=True, eq=False)
class OnDemand:
    """Examples read each time they are fetched: `read(row)` gives one [*shape] float32.

    `threads` must be 1 unless `read` may be called from several threads at once. `reader` reads the same in other processes,
    where it can be pickled; pixels as they are, before they are scaled.
    """

    read: Callable[[int], torch.Tensor]
    count: int
    shape: tuple[int, ...]
    origin: Origin
    threads: int = 1
    labels: Integers | None = None
    class_names: tuple[ClassName, ...] = ()
    reader: Reader | None = None
    captions: Captions | None = None
    attributes: Attributes | None = None
    _judged: list[bool] = field(default_factory=list, init=False)

    def __len__(self) -> int:
        return self.count

    @cached_property
    def _pool(self) -> Executor:
        return ThreadPoolExecutor(self.threads, thread_name_prefix="examples")

    def fetch(self, rows: Integers) -> torch.Tensor:
        if not len(rows):
            return torch.empty((0, *self.shape))
        numbers: Sequence[int] = rows.tolist()
        examples = list(map(self.read, numbers) if self.threads == 1 else self._pool.map(self.read, numbers))
        for row, example in zip(numbers, examples, strict=True):
            if tuple(example.shape) != self.shape:
                received = f"{_sides(example.shape)} after {_sides(self.shape)}"
                raise self.origin.fault(row, "must hold examples of one shape", received, _SIZE_REMEDY)
        batch = torch.stack(examples)
        self.judge(batch, rows)
        return batch

    @property
    def judged(self) -> bool:
        """Whether enough have been seen to tell how they are scaled."""
        return bool(self._judged)

    def judge(self, batch: torch.Tensor, rows: Integers) -> None:
        """Raises `BadDataError` for an odd example of those read, `batch` [B, *shape] of `rows` [B]; warns once of half a
        range.
        """
        refuse_odd(batch, rows, self.origin)
        if not self._judged and len(batch) >= _ENOUGH:
            self._judged.append(True)
            warn_of_half_range(batch, self.origin)


_SIZE_REMEDY = "make them alike; images of a folder or of a Hugging Face data set are resized by `data.size`"


def from_tensor(images: torch.Tensor, labels: Integers | None, class_names: tuple[ClassName, ...], origin: Origin) -> Examples:
    """Examples [N, *shape] that are in memory already, checked once.

    Raises:
        BadDataError: there is none, or one is not finite.
    """
    _refuse_empty(len(images), origin)
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK]
        refuse_odd(part, np.arange(start, start + len(part)), origin)
    warn_of_half_range(images, origin)
    return InMemory(images, labels, class_names)


def from_reader(
    read: Callable[[int], torch.Tensor],
    count: int,
    origin: Origin,
    labels: Integers | None = None,
    class_names: tuple[ClassName, ...] = (),
    in_threads: bool = False,
    reader: Reader | None = None,
) -> InMemory | OnDemand:
    """Examples that `read(row)` yields one by one: all read now where they fit into memory, else when they are fetched.

    Raises:
        BadDataError: there is none, or (of those read now) one is not finite or differs in shape.
    """
    _refuse_empty(count, origin)
    shape = tuple(read(0).shape)
    threads = min(_MOST_THREADS, os.cpu_count() or 1) if in_threads else 1
    lazy = OnDemand(read, count, shape, origin, threads, labels, class_names, reader)
    if count * math.prod(shape) * 4 > IN_MEMORY_BYTES:
        return lazy
    lazy._judged.append(True)  # all of it is judged below
    images = torch.empty((count, *shape))
    for start in range(0, count, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, count))
        images[start : start + _CHUNK] = lazy.fetch(rows)
    warn_of_half_range(images, origin)
    return InMemory(images, labels, class_names, reader=reader)


def refuse_odd(batch: torch.Tensor, rows: Integers, origin: Origin) -> None:
    """Raises `BadDataError` naming the first example of `batch` [B, ...] (which are `rows` [B]) that is not finite, or that is an
    image [C, H, W] far outside [-1, 1]: sampling keeps images within that range.
    """
    refuse_non_finite(batch, rows, origin)
    if batch.ndim != _IMAGES or not batch.numel():
        return
    low, high = (each.item() for each in batch.aminmax())
    if max(-low, high) <= _FAR_OUTSIDE:
        return
    row = int((batch.abs() > _FAR_OUTSIDE).flatten(1).any(dim=1).nonzero()[0])
    one = batch[row]
    received = f"numbers from {one.min().item():.4g} to {one.max().item():.4g}"
    remedy = "scale pixels 0..255 by x / 127.5 - 1, and other numbers to -1..1"
    raise origin.fault(int(rows[row]), "must hold images in [-1, 1]", received, remedy)


def warn_of_half_range(images: torch.Tensor, origin: Origin) -> None:
    """Warns of images [N, C, H, W] of which none has a number below 0, as they have where they were scaled to 0..1."""
    if images.ndim == _IMAGES and images.numel() and images.min() >= 0 and images.max() > images.min():
        received = f"none has a number below 0 (from {images.min().item():.3g} to {images.max().item():.3g})"
        _log.warning("%s: images are meant to be in [-1, 1], but %s; scale 0..1 by x * 2 - 1", dotted(origin.keys), received)


def refuse_non_finite(batch: torch.Tensor, rows: Integers, origin: Origin) -> None:
    """Raises `BadDataError` naming the first example of `batch` [B, ...] (which are `rows` [B]) that holds NaN or infinity."""
    finite = torch.isfinite(batch)
    if bool(finite.all()):
        return
    position = tuple(int(each) for each in torch.nonzero(~finite)[0])
    received = f"{batch[position].item()} at position {list(position[1:])}"
    raise origin.fault(int(rows[position[0]]), "must hold finite numbers", received, "fix or leave out that example")


def _refuse_empty(count: int, origin: Origin) -> None:
    if count == 0:
        raise BadDataError(Diagnostic(origin.keys, "must hold at least one example", "none", "give data"))


def _sides(shape: Sequence[int]) -> str:
    return "x".join(str(side) for side in shape) or "a single number"
