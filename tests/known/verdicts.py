"""What is asked of a result, and what was found, in words for a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from tests.margins import Sampled


class Verdict(Protocol):
    """`required` and `found` are for people to read."""

    @property
    def required(self) -> str: ...

    @property
    def found(self) -> str: ...

    @property
    def ok(self) -> bool: ...


class Near:
    """Values [n] within `within` of the exact ones [n].

    Relative errors are to each exact value; to the largest where the exact one is 0, as an inactive constraint's multiplier.
    """

    def __init__(self, name: str, found: ArrayLike, wanted: ArrayLike, within: float, relative: bool = False) -> None:
        self.name, self.within, self.relative = name, within, relative
        self.values, self.wanted = np.atleast_1d(found).astype(float), np.atleast_1d(wanted).astype(float)
        self.scale = np.where(self.wanted == 0, np.abs(self.wanted).max(), np.abs(self.wanted)) if relative else np.float64(1)
        self.error = float((np.abs(self.values - self.wanted) / self.scale).max())

    @property
    def required(self) -> str:
        return f"{self.name} within {self._shown(self.within)}"

    @property
    def found(self) -> str:
        values = ", ".join(f"{each:.4g}" for each in self.values)
        exact = ", ".join(f"{each:.4g}" for each in self.wanted)
        return f"{self.name} {values} for {exact}: {self._shown(self.error)}"

    @property
    def ok(self) -> bool:
        return self.error <= self.within  # NaN is not

    def _shown(self, error: float) -> str:
        return f"{100 * error:.3g} %" if self.relative else f"{error:.2g}"


class Ending:
    """A run that ends with a status, and whose reason names some constraints and not others."""

    def __init__(self, result: Mapping[str, Any], status: str, named: Sequence[str], unnamed: Sequence[str]) -> None:
        self.status, self.named = status, named
        self.found = f"{result['status']}, {', '.join(self._in(result, [*named, *unnamed])) or 'nothing'} named"
        said = self._in(result, named) == list(named) and not self._in(result, unnamed)
        self.ok = result["status"] == status and said

    @property
    def required(self) -> str:
        return f"{self.status}, {', '.join(self.named)} named"

    @staticmethod
    def _in(result: Mapping[str, Any], names: Sequence[str]) -> list[str]:
        return [name for name in names if f"`{name}`" in str(result["reason"])]


def judge(sampled: Sampled, verdicts: Sequence[Verdict]) -> None:
    """Asserts what was found, the figures as what chance moves."""
    assert verdicts
    for verdict in verdicts:
        if isinstance(verdict, Near):
            sampled.near(verdict.name, verdict.values, verdict.wanted, abs=verdict.within * verdict.scale)
        else:
            assert verdict.ok, f"{verdict.required}, but got {verdict.found}"
