"""What became of each constraint of a run, as `dualsweep explain` tells it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import cast

from rich.console import Console

from dualsweep.sweeps.records.explained import Explained
from dualsweep.sweeps.reports.explaining import show
from dualsweep.trainer.verdicts.verdict import Verdict

_WIDTH = 120


@dataclass(frozen=True, repr=False)
class Explanation:
    """A verdict for each constraint, in one word with the evidence and what to change, and of a trial what its budgets cost."""

    verdicts: tuple[Verdict, ...]
    prices: tuple[str, ...]
    _explained: Explained

    @classmethod
    def of(cls, explained: Explained) -> Explanation:
        return cls(tuple(explained.verdicts), explained.prices, explained)

    def __getitem__(self, name: str) -> Verdict:
        """The verdict of the constraint of that name.

        Raises:
            KeyError: there is none.
        """
        return {each.name: each for each in self.verdicts}[name]

    def __repr__(self) -> str:
        console = Console(file=io.StringIO(), width=_WIDTH, markup=False, highlight=False, force_jupyter=False, color_system=None)
        show(self._explained, console)
        lines = cast("io.StringIO", console.file).getvalue().splitlines()
        return "\n".join(line.rstrip() for line in lines)

    def _repr_markdown_(self) -> str:
        return self._explained.markdown(*self._explained.goals, *self.prices)
