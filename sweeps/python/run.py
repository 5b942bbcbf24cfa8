"""One training that has ended, as Python has it: its result, and what lies beside it."""

from __future__ import annotations

import math
import posixpath
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dualsweep.sweeps.python.explanation import Explanation
from dualsweep.sweeps.python.given import count_given, mistake, required_place, told_in_python
from dualsweep.sweeps.python.pictures import page
from dualsweep.sweeps.records.explained import Explained
from dualsweep.sweeps.records.folder_kind import trial_artifacts
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.config.uris import local_path
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Run(Result):
    """The end of one training (`Result`), in `folder`, with its recipe, its history, its samples and its verdicts."""

    title: str = ""
    folder: Path = field(default_factory=Path)
    _explained: Explained | None = None

    @classmethod
    def of_training(cls, explained: Explained, folder: Path) -> Self:
        """The run whose files lie in `folder`."""
        own = {each.name: getattr(explained.result, each.name) for each in fields(Result)}
        return cls(**own, title=explained.title, folder=folder, _explained=explained)

    @property
    def recipe(self) -> Recipe:
        """What was trained."""
        return self._known.recipe

    @property
    def _known(self) -> Explained:
        assert self._explained is not None  # of one that was made without, none is handed out
        return self._explained

    def to_json(self) -> dict[str, Any]:
        """The form of `--json` files (docs/recipe.md)."""
        return self._known.as_training()

    def explain(self) -> Explanation:
        """What became of each constraint, with the evidence and what to change, as `dualsweep explain` says it."""
        return Explanation.of(self._known)

    def to_dataframe(self) -> pd.DataFrame:
        """What was reported, a row a step and a column a metric by its MLflow name, NaN where a step has none of it.

        The last row, whose column `final` is true, is the final evaluation's.
        """
        import pandas as pd

        rows = [{"step": each.step, **each.metrics, "final": each.final} for each in self._known.points]
        return pd.DataFrame(rows).set_index("step") if rows else pd.DataFrame()

    @told_in_python
    def samples(
        self, n: int = 16, *, seed: int = 0, sampler: str | None = None, steps: int | None = None
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        """`n` samples [n, ...] of the trained model in [-1, 1], as `dualsweep sample` draws them, by the recipe's own sampler and
        steps unless others are named.

        Raises:
            InputError: `n` is no count, the run has no checkpoint, or its schedule has fewer steps.
        """
        from dualsweep.trainer.engine.sample_command import draw, find_checkpoint, restore
        from dualsweep.trainer.samplers.grid import TooManyStepsError
        from dualsweep.trainer.samplers.registry import SAMPLERS

        n, seed = count_given("n", n, 1), count_given("seed", seed, 0)
        steps = None if steps is None else count_given("steps", steps, 1)
        if sampler is not None and sampler not in SAMPLERS:
            raise mistake("sampler", f"must be one of {', '.join(SAMPLERS)}", sampler, "give one, or none")
        model = restore(find_checkpoint(self._delivered))
        try:
            drawn = draw(model, n, sampler=sampler, steps=steps, seed=seed)
        except TooManyStepsError as error:
            told = replace(error.diagnostic, remedy="lower it")
            raise InputError([told.at(("steps",), "Python", 1)]) from None
        array: np.ndarray[Any, np.dtype[np.float32]] = drawn.numpy()
        return array

    @told_in_python
    def export(self, out: str | Path, *, push_to_hub: str | None = None, public: bool = False) -> Path:
        """Writes the model as a diffusers pipeline with a model card to the folder `out`, as `dualsweep export` does.

        Raises:
            InputError: `out` holds something or can't be written, the run has no checkpoint, its model is code of yours, or the
                hub does not take it.
        """
        from dualsweep.sweeps.exporting.export import export

        place = required_place(out, "out")
        export(str(self.folder), place, push_to_hub=push_to_hub, public=public)
        return local_path(place)

    @property
    def _delivered(self) -> str:
        """The delivered model's checkpoint: in the folder, which may have been moved, else where it was written."""
        if self.checkpoint is None:
            return str(self.folder)
        here = self.folder / "checkpoints" / posixpath.basename(self.checkpoint)
        return str(here) if here.is_dir() else self.checkpoint

    def __repr__(self) -> str:
        figures = "" if math.isnan(self.objective) else f", objective {self.objective:.4g}"
        figures += "".join(f", {name} {each.standing}" for name, each in self.constraints.items())
        figures += f": {' '.join(self.reason.split())}" if self.status == "failed" else ""
        return f"<Run {self.title}: {self.status.replace('_', ' ')} after {self.steps} steps{figures}; {self.folder}>"

    def _repr_html_(self) -> str:
        told = repr(self) if self.status == "failed" else f"{self!r}\n{self.reason}"
        return page(told, [self._picture("trajectories.png"), self._picture("samples.png")])

    def _picture(self, name: str) -> Path:
        """Where a picture is: in the folder, else where a sweep keeps those of its trials."""
        own, kept = self.folder / name, trial_artifacts(self.folder)
        return own if own.is_file() or kept is None else kept / name
