"""The four kinds of search over one key: `uniform`, `log_uniform`, `int` and `choice`, as records, and how YAML writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from dualsweep.trainer.config.diagnostics import Diagnostic, Keys
from dualsweep.trainer.config.wording import nearest, show
from dualsweep.trainer.config.yaml_file import Document


@dataclass(frozen=True)
class Uniform:
    """Any number in [low, high], all equally likely."""

    low: float
    high: float
    word: ClassVar[str] = "uniform"

    @property
    def ends(self) -> tuple[Any, ...]:
        return (self.low, self.high)

    def at(self, unit: float) -> float:
        """The value at `unit` in [0, 1]."""
        return min(self.high, self.low + unit * (self.high - self.low))


@dataclass(frozen=True)
class LogUniform:
    """Any number in [low, high], its logarithm uniform; 0 < low."""

    low: float
    high: float
    word: ClassVar[str] = "log_uniform"

    @property
    def ends(self) -> tuple[Any, ...]:
        return (self.low, self.high)

    def at(self, unit: float) -> float:
        """The value at `unit` in [0, 1]."""
        value = math.exp(math.log(self.low) + unit * (math.log(self.high) - math.log(self.low)))
        return min(self.high, max(self.low, value))


@dataclass(frozen=True)
class Integers:
    """The whole numbers from low to high, both included."""

    low: int
    high: int
    word: ClassVar[str] = "int"

    @property
    def ends(self) -> tuple[Any, ...]:
        return (self.low, self.high)

    def at(self, unit: float) -> int:
        """The value at `unit` in [0, 1]."""
        return min(self.high, self.low + int(unit * (self.high - self.low + 1)))


@dataclass(frozen=True)
class Choice:
    """One of the values written out: anything YAML can hold."""

    values: tuple[Any, ...]
    word: ClassVar[str] = "choice"

    @property
    def ends(self) -> tuple[Any, ...]:
        return self.values

    def at(self, unit: float) -> Any:
        """The value at `unit` in [0, 1]."""
        return self.values[min(len(self.values) - 1, int(unit * len(self.values)))]


Kind = Uniform | LogUniform | Integers | Choice
WORDS = tuple(kind.word for kind in (Uniform, LogUniform, Integers, Choice))
#: Whole numbers tried one by one: a rule such as "a multiple of" is kept by the ends and broken between them. Each takes about
#: half a millisecond of `check`.
_FEW = 128
_FORMS = "write e.g. `{log_uniform: [0.003, 0.3]}`, `{uniform: [0.08, 0.25]}`, `{int: [1, 8]}` or `{choice: [1, 5]}`"


def listed(kind: Kind) -> Sequence[Any] | None:
    """Every value of a kind that has finitely many of them, for a grid; None for the continuous kinds."""
    if isinstance(kind, Integers):
        return range(kind.low, kind.high + 1)
    return kind.values if isinstance(kind, Choice) else None


def same(one: Any, other: Any) -> bool:
    """Whether two values are one in YAML, where `1` and `true` are two."""
    return type(one) is type(other) and bool(one == other)


def holds(kind: Kind, value: Any) -> bool:
    """Whether a value is one of the kind's."""
    if isinstance(kind, Choice):
        return any(same(each, value) for each in kind.values)
    if not _is_number(value) or (isinstance(kind, Integers) and not isinstance(value, int)):
        return False
    return bool(kind.low <= value <= kind.high)


def tried(kind: Kind) -> tuple[Any, ...]:
    """The values that are tried in the recipe before a sweep starts: the ends; of whole numbers, in order, all of a few, else
    also some between and those beside the ends.
    """
    if not isinstance(kind, Integers):
        return kind.ends
    spread = (kind.low + step * (kind.high - kind.low) // (_FEW - 1) for step in range(_FEW))
    return tuple(sorted({*spread, *with_neighbours(kind)}))


def with_neighbours(kind: Kind) -> tuple[Any, ...]:
    """The ends, and of whole numbers also those beside them, which the ends' own rule of being a multiple refuses."""
    if not isinstance(kind, Integers):
        return kind.ends
    return tuple(sorted({kind.low, kind.low + 1, kind.high - 1, kind.high}))


def read_kind(document: Document, keys: Keys, written: Any) -> Kind | Diagnostic:
    """Reads what stands below a search key, at `keys` of the sweep's document."""
    if not isinstance(written, dict) or len(written) != 1:
        return document.diagnostic(
            keys, "must hold exactly one of `uniform`, `log_uniform`, `int`, `choice`", show(written), _FORMS
        )
    word, value = next(iter(written.items()))
    keys = (*keys, word)
    if word not in WORDS:
        return document.diagnostic(keys, "must be a known kind of search", show(word), nearest(word, WORDS))
    if word == Choice.word:
        return _choice(document, keys, value)
    return _range(document, keys, word, value)


def _choice(document: Document, keys: Keys, value: Any) -> Choice | Diagnostic:
    if not isinstance(value, list) or not value:
        return document.diagnostic(keys, "must be a list of at least one value", show(value), "write e.g. `choice: [1, 5, 10]`")
    if not all(_finite(each) for each in value):
        return document.diagnostic(keys, "must hold finite numbers", show(value), "leave out inf and nan")
    for position, choice in enumerate(value):
        if any(same(choice, other) for other in value[:position]):
            return document.diagnostic(keys, "must hold each value once", f"{show(choice)} twice", "keep one of them")
    return Choice(tuple(value))


def _range(document: Document, keys: Keys, word: str, value: Any) -> Kind | Diagnostic:
    numbers = isinstance(value, list) and len(value) == 2 and all(_is_number(each) for each in value)
    if not numbers or not all(_finite(each) for each in value):
        return document.diagnostic(keys, "must be two finite numbers, [low, high]", show(value), f"write e.g. `{word}: [1, 8]`")
    low, high = value
    if low == high:
        return document.diagnostic(
            keys, "must have its low end below its high end", show(value), f"write `choice: [{low}]`, or fix the key under `set`"
        )
    if low > high:
        return document.diagnostic(
            keys, "must have its low end below its high end", show(value), f"write `{word}: [{high}, {low}]`"
        )
    if word == LogUniform.word and low <= 0:
        return document.diagnostic(
            keys, "must be above zero, as logarithms need", show(value), "raise the low end above zero, or write `uniform`"
        )
    if word == Integers.word:
        if not all(isinstance(each, int) for each in value):
            return document.diagnostic(keys, "must be two whole numbers", show(value), "write whole numbers, or `uniform`")
        return Integers(low, high)
    return Uniform(float(low), float(high)) if word == Uniform.word else LogUniform(float(low), float(high))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
