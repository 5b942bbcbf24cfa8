"""A sweep's front, as Python has it: which trials are on it, which to take, what budgets cost, and the figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualsweep.sweeps.python.pictures import page

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Front:
    """`trials` are those on the front, from the best end of the first objective; `hypervolume` is in the product of the
    objectives' units, None where no trial counts. `recommended` and `prices` are as in the `--json` file (docs/prices.md).
    `folder` has `front.html`, `front.png` and `trials.csv`.
    """

    trials: Sequence[str]
    hypervolume: float | None
    reference_point: Sequence[float] | None
    recommended: Mapping[str, Any]
    prices: Sequence[Mapping[str, Any]]
    folder: Path

    def to_dataframe(self) -> pd.DataFrame:
        """The trials of the front, a row each, with the columns of `trials.csv`, by their names."""
        import pandas as pd

        table = pd.read_csv(self.folder / "trials.csv", dtype={"trial": str, "continued_from": str}).set_index("trial")
        return table.loc[list(self.trials)]

    def __repr__(self) -> str:
        volume = "" if self.hypervolume is None else f", hypervolume {self.hypervolume:.4g}"
        best = f", take {self.recommended['trial']}" if self.recommended.get("trial") else ""
        return f"<Front: {len(self.trials)} trials{volume}{best}; {self.folder / 'front.html'}>"

    def _repr_html_(self) -> str:
        reasons = [str(each) for key in ("preferred_reason", "knee_reason") if (each := self.recommended.get(key))]
        return page("\n".join([repr(self), *reasons]), [self.folder / "front.png", self.folder / "front-samples.png"])
