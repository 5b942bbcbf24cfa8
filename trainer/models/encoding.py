"""Examples in the space of the diffusion: a frozen autoencoder encodes each of them once."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dualsweep.trainer.data.attributes import Attributes
from dualsweep.trainer.data.captions import Captions
from dualsweep.trainer.data.examples import IN_MEMORY_BYTES, Examples, InMemory, Integers
from dualsweep.trainer.data.identity import identity
from dualsweep.trainer.data.joined import Concatenated, concatenate
from dualsweep.trainer.models.latent_cache import FORMAT, kept
from dualsweep.trainer.models.spaces import Space
from dualsweep.trainer.recipe.base import ClassName

_READ_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Encoded:
    """Examples that are encoded each time they are fetched: one by one, as the bits of one depend on those beside it."""

    examples: Examples
    space: Space

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def labels(self) -> Integers | None:
        return self.examples.labels

    @property
    def class_names(self) -> tuple[ClassName, ...]:
        return self.examples.class_names

    @property
    def captions(self) -> Captions | None:
        return self.examples.captions

    @property
    def attributes(self) -> Attributes | None:
        return self.examples.attributes

    @property
    def shape(self) -> tuple[int, ...]:
        return self.space.coded(self.examples.shape)

    def fetch(self, rows: Integers) -> Tensor:
        if not len(rows):
            return torch.empty((0, *self.shape))
        return torch.cat([self.space.encode(each) for each in torch.split(self.examples.fetch(rows), 1)])


def encoded(examples: Examples, space: Space) -> Examples:
    """The examples in the space of the diffusion, with the same bits wherever they come from.

    They are read from the disk where a run before encoded them (see `latent_cache`), else encoded now, in the order of their
    rows. Where they can neither be kept there nor in memory, they are encoded each time they are fetched.

    Raises:
        BadDataError: an example is not finite, of another shape than the first, or cannot be read.
        TrainingError: the space has none for data of this shape.
    """
    if not space.latent:
        return examples
    if isinstance(examples, Concatenated):
        return concatenate(encoded(examples.first, space), encoded(examples.second, space))
    shape = (len(examples), *space.coded(examples.shape))
    small = math.prod(shape) * 4 <= IN_MEMORY_BYTES
    at_once = _READ_AT_ONCE if small else 1

    def encode() -> Iterator[Tensor]:
        for start in range(0, len(examples), _READ_AT_ONCE):
            read = examples.fetch(np.arange(start, min(start + _READ_AT_ONCE, len(examples))))
            yield from (space.encode(part) for part in torch.split(read, at_once))

    said = (FORMAT, identity(examples), space.identity(), at_once)
    latents = kept(hashlib.sha256(repr(said).encode()).hexdigest()[:40], shape, encode)
    if latents is None and not small:
        return Encoded(examples, space)
    return InMemory(
        torch.cat(list(encode())) if latents is None else latents,
        examples.labels,
        examples.class_names,
        examples.captions,
        examples.attributes,
    )
