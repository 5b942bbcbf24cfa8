"""Examples of two sources under one numbering."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from dualsweep.trainer.data.attributes import Attributes
from dualsweep.trainer.data.captions import Captions
from dualsweep.trainer.data.examples import Examples, Integers, OnDemand
from dualsweep.trainer.recipe.base import ClassName


@dataclass(frozen=True, eq=False)
class Concatenated:
    """The rows of `first`, then those of `second`; the latter have no class, caption or attribute, whatever they say."""

    first: Examples
    second: Examples
    labels: Integers | None = field(init=False)
    captions: Captions | None = field(init=False)
    attributes: Attributes | None = field(init=False)

    def __post_init__(self) -> None:
        none, labels, captions = np.full(len(self.second), -1, dtype=np.int64), self.first.labels, self.first.captions
        if labels is not None:
            labels = np.concatenate([labels, none])
        if captions is not None:
            captions = Captions(captions.texts, np.concatenate([captions.of, none]))
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "captions", captions)
        own = self.first.attributes
        object.__setattr__(self, "attributes", own.joined(len(self.second)) if own is not None else None)

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    @property
    def class_names(self) -> tuple[ClassName, ...]:
        return self.first.class_names

    @property
    def shape(self) -> tuple[int, ...]:
        return self.first.shape

    def fetch(self, rows: Integers) -> torch.Tensor:
        batch = torch.empty((len(rows), *self.shape))
        later = rows >= len(self.first)
        batch[torch.from_numpy(np.flatnonzero(~later))] = self.first.fetch(rows[~later])
        batch[torch.from_numpy(np.flatnonzero(later))] = self.second.fetch(rows[later] - len(self.first))
        return batch


def concatenate(first: Examples, second: Examples) -> Examples:
    """One numbering over both: row r of `second` becomes len(first) + r. Both must have the same shape.

    Raises:
        ValueError: the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"must join examples of one shape, but got {first.shape} and {second.shape}")
    return Concatenated(first, second)


def on_demand(examples: Examples) -> list[tuple[int, OnDemand]]:
    """Those of `examples` that are read when they are fetched, with the row that the first of them has."""
    if isinstance(examples, Concatenated):
        return on_demand(examples.first) + [(len(examples.first) + first, each) for first, each in on_demand(examples.second)]
    return [(0, examples)] if isinstance(examples, OnDemand) else []
