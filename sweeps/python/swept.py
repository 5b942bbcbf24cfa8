"""A sweep, as Python has it: its trials, its front, and the point to take."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualsweep.sweeps.python.explanation import Explanation
from dualsweep.sweeps.python.given import mistake, told_in_python, whole_number
from dualsweep.sweeps.python.pictures import page
from dualsweep.sweeps.python.run import Run
from dualsweep.sweeps.records.sweep_summary import recommended_folder, trial_folder
from dualsweep.sweeps.reports.explaining import explain_run
from dualsweep.sweeps.trials.results import Results
from dualsweep.trainer.config.diagnostics import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Swept(Results):
    """The end of a sweep (`Results`), whose files lie in `folder`; where no trial is named, the recommended one is meant."""

    title: str = ""
    folder: Path = field(default_factory=Path)

    @told_in_python
    def run(self, trial: str | int | None = None) -> Run:
        """One trial's training; of one of several the first sound one.

        Raises:
            InputError: there is no such trial, it has not ended, or no trial was named and none is recommended.
        """
        number = whole_number(trial)
        if number is None and not isinstance(trial, str | None):
            raise mistake("trial", "must be a trial's number or name", trial, "give e.g. 7 or '0007'")
        name = trial if number is None else str(number)
        try:
            place = recommended_folder(self.folder) if name is None else trial_folder(self.folder, str(name))
        except InputError as error:
            raise InputError([each.at(("trial",), "Python", 1) for each in error.diagnostics]) from None
        return Run.of_training(explain_run(str(place), None), place)

    def explain(self, trial: str | int | None = None) -> Explanation:
        """What became of each constraint of a trial, and what its budgets cost."""
        return self.run(trial).explain()

    def samples(self, n: int = 16, *, trial: str | int | None = None, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
        """`n` samples [n, ...] of a trial's model in [-1, 1]."""
        return self.run(trial).samples(n, seed=seed)

    def export(
        self, out: str | Path, *, trial: str | int | None = None, push_to_hub: str | None = None, public: bool = False
    ) -> Path:  # fmt: skip
        """Writes a trial's model as a diffusers pipeline with a model card to the folder `out`, as `dualsweep export` does."""
        return self.run(trial).export(out, push_to_hub=push_to_hub, public=public)

    def to_dataframe(self) -> pd.DataFrame:
        """A row a trial, best rank first: the columns of `trials.csv` (docs/sweep.md), by the trials' names."""
        import pandas as pd

        return pd.read_csv(self.folder / "trials.csv", dtype={"trial": str, "continued_from": str}).set_index("trial")

    def __repr__(self) -> str:
        best = (self.recommended or {}).get("trial")
        said = f"{len(self.trials)} trials, {len(self.front)} on the front" + (f", take {best}" if best else "")
        return f"<Sweep {self.title}: {said}{', interrupted' if self.interrupted else ''}; {self.folder}>"

    def _repr_html_(self) -> str:
        reasons = [str(each) for key in ("preferred_reason", "knee_reason") if (each := (self.recommended or {}).get(key))]
        return page("\n".join([repr(self), *reasons]), [self.folder / "front.png", self.folder / "front-samples.png"])
