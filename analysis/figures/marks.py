"""How a trial is marked, the same in every figure: by shape as well as by colour, so that grey suffices."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.front import Front
from analysis.trials import Direction, SweepRecord


@dataclass(frozen=True)
class Mark:
    """One kind of point: its name in the legend, colour, marker in matplotlib and in plotly, and size.

    `hint` says what the name means; `faint` kinds are drawn lightly, since they would be misread beside the front's line.
    """

    name: str
    colour: str
    marker: str
    symbol: str
    size: int
    filled: bool
    hint: str = ""
    faint: bool = False


#: From the least to the most important, which is also the order of drawing.
MARKS = {
    "unknown": Mark("not judged", "#8a8f98", "^", "triangle-up-open", 8, filled=False, hint="failed, diverged or still running"),
    "stopped": Mark(
        "stopped", "#7c6f9f", "s", "square-open", 8, filled=False, hint="ended early: it could not have reached the front"
    ),
    "infeasible": Mark("infeasible", "#c2410c", "x", "x-thin-open", 8, filled=False, hint="broke its own budgets", faint=True),
    "feasible": Mark("dominated", "#4c9be8", "o", "circle-open", 8, filled=False, hint="feasible, but another trial is better"),
    "front": Mark(
        "on the front", "#0b2e63", "D", "diamond", 11, filled=True, hint="feasible, and no other feasible trial is better"
    ),
}
LINE = "#0b2e63"
#: The front of one amortised network.
AMORTISED = "#0f766e"


def kinds(record: SweepRecord, front: Front) -> list[str]:
    """Return the key of each trial's mark [trials]."""
    on_front = frozenset(front.ids)
    return ["front" if trial.trial_id in on_front else trial.verdict for trial in record.trials]


def steps_first_across(direction: Direction) -> bool:
    """Say whether the front's step line goes along x first, for a front sorted by x.

    Between two points of the front only the one at the worse x end is attained: for a minimised x the left
    one, so the line keeps its y and then jumps; for a maximised x the right one.
    """
    return direction == "minimize"
