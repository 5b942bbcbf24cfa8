"""What a term is to a recipe: one word, the schema of its value, and how it is built once the heavy libraries are there.

An objective and a constraint are the same kind of thing: a term, which gives per-sample values whose expectation is
minimised or bounded. Each term is one file of `trainer/terms/shipped/` that holds a `TERM`; nothing else names it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dualsweep.trainer.config.diagnostics import Keys
from dualsweep.trainer.recipe.base import ClassName
from dualsweep.trainer.recipe.data import Subset

if TYPE_CHECKING:
    from dualsweep.trainer.config.diagnostics import Diagnostic
    from dualsweep.trainer.terms.context import TermContext

#: What a term is evaluated on. `data`: noised examples. `rollout`: the trained model's own sampling trajectories.
#: `product`: noised samples of the product of models.
Source = Literal["data", "rollout", "product"]


@dataclass(frozen=True)
class Everything:
    """All the training data."""


@dataclass(frozen=True)
class SamplesOf:
    """`count` samples of the frozen model of that name."""

    model: str
    count: int


#: Where each import path of a value stands below it, the path, and the numbers of arguments it may be called with.
ImportPaths = tuple[tuple[tuple[str, ...], str, tuple[int, ...]], ...]
Population = Everything | Subset | SamplesOf


@dataclass(frozen=True)
class Seen:
    """What is known before training, for a term's own checks; None is not known yet.

    shape: of a sample. class_names: of the data. gradient: how rewards reach the weights, `rollout.gradient`.
    prompted: whether the model's samples have prompts. texts: the prompts or classes that the model is given, if any.
    attributes: of the data, if any. timesteps: of the schedule.
    """

    keys: Keys
    shape: tuple[int, ...] | None
    class_names: Sequence[ClassName] | None
    gradient: str
    prompted: bool | None = None
    texts: Sequence[str] | None = None
    attributes: Sequence[str] | None = ()
    timesteps: int | None = None


@dataclass(frozen=True)
class TermSpec:
    """A term as recipes name it.

    word         the key of a constraint or of `objective`
    value        the type of its value, as pydantic understands it
    source       what it is evaluated on
    build        (value, setting) -> the term, whose type is that of its source
    population   value -> what x is drawn from; for terms on data
    models       value -> the names of the frozen models it asks
    needs_noise  whether it is infinite for a deterministic sampler
    anchors      whether it is a KL to a reference, whose optimum under rewards is the tilted reference
    tilts        whether it depends on the sample alone, so that it can tilt one
    normalised   whether `rollout.normalize` makes its mean 0 and its deviation 1 under the pretrained model
    between      value -> the least and the largest that it can be of any model
    import_paths value -> the user's functions that it names
    faults       (value, what is known) -> what is wrong with it, told within moments
    description, example   what errors and the guide show
    """

    word: str
    value: Any
    source: Source
    build: Callable[[Any, TermContext], Any]
    description: str
    example: str
    population: Callable[[Any], Population] | None = None
    models: Callable[[Any], tuple[str, ...]] = lambda value: ()
    needs_noise: bool = False
    anchors: bool = False
    tilts: bool = False
    normalised: bool = False
    between: Callable[[Any], tuple[float, float]] = lambda value: (-math.inf, math.inf)
    import_paths: Callable[[Any], ImportPaths] = lambda value: ()
    faults: Callable[[Any, Seen], Iterable[Diagnostic]] = lambda value, seen: ()
