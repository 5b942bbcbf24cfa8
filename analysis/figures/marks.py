"""How a trial is marked, the same in every figure: by shape as well as by colour, so that grey suffices."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.front import Front
from analysis.trials import Direction, SweepRecord, Trial


@dataclass(frozen=True)
class Mark:
    """One kind of point: its name in the legend, colour, marker in matplotlib and in plotly, and size.

    Of a marker of two characters the second stands inside the first (`analysis.figures.front_png`). `hint` says what the name
    means; `faint` kinds are drawn lightly, since they would be misread beside the front's line.
    """

    name: str
    colour: str
    marker: str
    symbol: str
    size: int
    filled: bool
    hint: str = ""
    faint: bool = False


_FRONT, _BEATEN, _UNSURE = "#0b2e63", "#4c9be8", "#a16207"
#: From the least to the most important, which is also the order of drawing. What stands inside a mark says of the budgets that
#: the trial itself was given: a dot that it is undecided whether it meets them, a cross that it missed one.
MARKS = {
    "unknown": Mark("not judged", "#8a8f98", "^", "triangle-up-open", 8, filled=False, hint="failed, diverged or still running"),
    "stopped": Mark("stopped", "#7c6f9f", "s", "square-open", 8, filled=False, hint="ended early, without a final evaluation"),
    "infeasible": Mark(
        "infeasible", "#c2410c", "x", "x-thin-open", 8, filled=False, hint="violates a budget that decides", faint=True
    ),
    "undecided": Mark(
        "undecided", _UNSURE, "o.", "circle-open-dot", 9, filled=False,
        hint="too few draws to tell whether it meets the budgets that decide: not on the front",
    ),
    "missed": Mark(
        "dominated, missed", _BEATEN, "ox", "circle-x-open", 9, filled=False,
        hint="another trial is better, and it missed the searched budget it was given",
    ),
    "unsure": Mark(
        "dominated, undecided", _BEATEN, "p.", "pentagon-open-dot", 9, filled=False,
        hint="another trial is better; too few draws to tell whether it meets the searched budget it was given",
    ),
    "feasible": Mark("dominated", _BEATEN, "o", "circle-open", 8, filled=False, hint="could be on it, but another is better"),
    "front_missed": Mark(
        "on the front, missed", _FRONT, "Dx", "diamond-x-open", 12, filled=False,
        hint="nobody attained what it did, though it missed the searched budget it was given",
    ),
    "front_undecided": Mark(
        "on the front, undecided", _FRONT, "D.", "diamond-open-dot", 12, filled=False,
        hint="nobody attained what it did; too few draws to tell whether it meets the searched budget it was given",
    ),
    "front": Mark("on the front", _FRONT, "D", "diamond", 11, filled=True, hint="meets its budgets, and no other is better"),
}  # fmt: skip
LINE = "#0b2e63"
#: The front of one amortised network.
AMORTISED = "#0f766e"


def kinds(record: SweepRecord, front: Front) -> list[str]:
    """Return the key of each trial's mark [trials]."""
    on_front = frozenset(front.ids)
    return [_kind(record, trial, trial.trial_id in on_front) for trial in record.trials]


def on_front(kind: str) -> bool:
    """Whether trials with this mark are on the front."""
    return kind.startswith("front")


def _kind(record: SweepRecord, trial: Trial, best: bool) -> str:
    if trial.status == "stopped":
        return "stopped"
    admission = record.admission(trial)
    if admission is None:
        return "unknown"
    if admission != "met":
        return "undecided" if admission == "undecided" else "infeasible"
    if best:
        return {"violated": "front_missed", "undecided": "front_undecided"}.get(trial.standing or "", "front")
    return {"violated": "missed", "undecided": "unsure"}.get(trial.standing or "", "feasible")


def steps_first_across(direction: Direction) -> bool:
    """Say whether the front's step line goes along x first, for a front sorted by x.

    Between two points of the front only the one at the worse x end is attained: for a minimised x the left
    one, so the line keeps its y and then jumps; for a maximised x the right one.
    """
    return direction == "minimize"
