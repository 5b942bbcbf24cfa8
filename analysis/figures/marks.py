"""How a trial is marked, the same in every figure: by shape as well as by colour, so that grey suffices."""

from __future__ import annotations

from dataclasses import dataclass

from dualsweep.analysis.front import Front
from dualsweep.analysis.trials import Direction, SweepRecord, Trial


@dataclass(frozen=True)
class Mark:
    """One kind of point: its name in the legend, colour, marker in matplotlib and in plotly, glyph on the page, and size.

    Of a marker of two characters the second stands inside the first (`analysis/figures/front_png.py`). `glyph` is SVG about the
    origin, from -9 to 9 across and -7 to 7 down, with `C` for the colour. `hint` says what the name means; `faint` kinds are
    drawn lightly, since they would be misread beside the front's line.
    """

    name: str
    colour: str
    marker: str
    symbol: str
    glyph: str
    size: int
    filled: bool
    hint: str = ""
    faint: bool = False


_FRONT, _BEATEN, _UNSURE = "#0b2e63", "#4c9be8", "#a16207"
#: From the least to the most important, which is also the order of drawing. What stands inside a mark says of the budgets that
#: the trial itself was given: a dot that it is undecided whether it meets them, a cross that it missed one.
MARKS = {
    "unknown": Mark(
        "not judged", "#8a8f98", "^", "triangle-up-open",
        '<path d="M0-4.5 4.6 3.8H-4.6z" fill="none" stroke="C" stroke-width="1.6"/>',
        8, filled=False,
        hint="failed, diverged or still running",
    ),
    "stopped": Mark(
        "stopped", "#7c6f9f", "s", "square-open",
        '<rect x="-4" y="-4" width="8" height="8" fill="none" stroke="C" stroke-width="1.6"/>',
        8, filled=False,
        hint="ended early, without a final evaluation",
    ),
    "infeasible": Mark(
        "infeasible", "#c2410c", "x", "x-thin-open",
        '<path d="M-4-4 4 4M-4 4 4-4" stroke="C" stroke-width="1.6" opacity=".6"/>',
        8, filled=False, faint=True,
        hint="violates a budget that decides",
    ),
    "undecided": Mark(
        "undecided", _UNSURE, "o.", "circle-open-dot",
        '<circle r="4.6" fill="none" stroke="C" stroke-width="1.5"/><circle r="1.4" fill="C"/>',
        9, filled=False,
        hint="too few draws to tell whether it meets the budgets that decide: not on the front",
    ),
    "missed": Mark(
        "dominated, missed", _BEATEN, "ox", "circle-x-open",
        '<circle r="4.6" fill="none" stroke="C" stroke-width="1.5"/>'
        '<path d="M-2.6-2.6 2.6 2.6M-2.6 2.6 2.6-2.6" stroke="C" stroke-width="1.5"/>',
        9, filled=False,
        hint="another trial is better, and it missed the searched budget it was given",
    ),
    "unsure": Mark(
        "dominated, undecided", _BEATEN, "p.", "pentagon-open-dot",
        '<path d="M0-5.2 4.9-1.6 3.1 4.2H-3.1L-4.9-1.6z" fill="none" stroke="C" stroke-width="1.5"/><circle r="1.3" fill="C"/>',
        9, filled=False,
        hint="another trial is better; too few draws to tell whether it meets the searched budget it was given",
    ),
    "feasible": Mark(
        "dominated", _BEATEN, "o", "circle-open",
        '<circle r="4.3" fill="none" stroke="C" stroke-width="1.6"/>',
        8, filled=False,
        hint="could be on it, but another is better",
    ),
    "tied": Mark(
        "tied with the front", _BEATEN, "h", "hexagon-open",
        '<path d="M0-5.2 4.5-2.6V2.6L0 5.2-4.5 2.6V-2.6z" fill="none" stroke="C" stroke-width="1.6"/>',
        10, filled=False,
        hint="behind the front by less than the errors: no other trial is clearly better",
    ),
    "front_missed": Mark(
        "on the front, missed", _FRONT, "Dx", "diamond-x-open",
        '<path d="M0-6.2 6.2 0 0 6.2-6.2 0zM-2.6-2.6 2.6 2.6M-2.6 2.6 2.6-2.6" fill="none" stroke="C" stroke-width="1.5"/>',
        12, filled=False,
        hint="nobody attained what it did, though it missed the searched budget it was given",
    ),
    "front_undecided": Mark(
        "on the front, undecided", _FRONT, "D.", "diamond-open-dot",
        '<path d="M0-6.2 6.2 0 0 6.2-6.2 0z" fill="none" stroke="C" stroke-width="1.5"/><circle r="1.4" fill="C"/>',
        12, filled=False,
        hint="nobody attained what it did; too few draws to tell whether it meets the searched budget it was given",
    ),
    "front": Mark(
        "on the front", _FRONT, "D", "diamond",
        '<path d="M0-5.5 5.5 0 0 5.5-5.5 0z" fill="C"/>',
        11, filled=True,
        hint="meets its budgets, and no other is better",
    ),
}  # fmt: skip
LINE = "#0b2e63"
#: The front of one amortised network.
AMORTISED = "#0f766e"


def kinds(record: SweepRecord, front: Front) -> list[str]:
    """Return the key of each trial's mark [trials]."""
    on_front = front.members
    found = [_kind(record, trial, trial.trial_id in on_front) for trial in record.trials]
    return ["tied" if trial.trial_id in front.ties else kind for trial, kind in zip(record.trials, found, strict=True)]


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
