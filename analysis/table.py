"""The front as a table for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dualsweep.analysis.front import Front
from dualsweep.analysis.text import MANY_CONSTRAINTS, MISSING, chance, outcome_parts, ranged, setting, verdict, worst_text
from dualsweep.analysis.trials import SweepRecord, Trial

_CAPTION = "± of objectives: half of a 95 % interval; of constraints: a standard error"


def front_table(record: SweepRecord, front: Front, *, width: int = 120) -> Table:
    """Return the front as a table: trial, searched parameters, objectives, constraints, whether budgets are met, the
    trial continued.

    Objectives have the half-widths of their 95 % intervals. Where trials are several trainings, the last column is the
    probability that one more training meets its budgets.
    A constraint reads `value ≤ budget` with the slack's standard error and the multiplier below. With more
    than four constraints, or where `width` characters are too few for all, one column shows the worst slack
    instead. Where the front is empty, the least violating trial stands in it.
    """
    if len(record.constraint_names) <= MANY_CONSTRAINTS:
        table = _table(record, front, worst_only=False)
        if Console(width=1000).measure(table).maximum <= width:
            return table
    return _table(record, front, worst_only=True)


def _table(record: SweepRecord, front: Front, *, worst_only: bool) -> Table:
    table = Table(title=Text(front.note, style="bold"), title_justify="left", box=None, pad_edge=False)
    table.caption, table.caption_justify = Text(_CAPTION), "left"
    table.add_column("trial", no_wrap=True)
    for name in (*record.searched, *record.objectives):
        table.add_column(Text(_two_lines(name)), justify="right")
    ends = ("worst slack",) if worst_only else record.constraint_names
    for name in ends if record.constraint_names else ():
        table.add_column(Text(name))
    table.add_column("feasible", no_wrap=True)
    if record.replicated:
        table.add_column("P(feasible)", justify="right", no_wrap=True)
    if _continued(record):
        table.add_column("from", no_wrap=True)
    shown = front.trials or ((front.least_violating,) if front.least_violating else ())
    for trial in shown:
        table.add_row(*(Text(cell) for cell in _cells(record, trial, worst_only)))
    return table


def _two_lines(name: str) -> str:
    """Break a dotted name at the dot that makes it narrowest: it is much wider than its values."""
    dots = [place + 1 for place, character in enumerate(name) if character == "."]
    if not dots:
        return name
    at = min(dots, key=lambda dot: max(dot, len(name) - dot))
    return f"{name[:at]}\n{name[at:]}"


def _cells(record: SweepRecord, trial: Trial, worst_only: bool) -> list[str]:
    parts = {outcome.name: outcome_parts(outcome) for outcome in trial.constraints}
    texts = {name: f"{bound}\n{error} {multiplier}".strip() for name, (bound, error, multiplier) in parts.items()}
    ends = [texts.get(name, MISSING) for name in record.constraint_names]
    if worst_only and ends:
        ends = [worst_text(trial)]
    return [
        trial.trial_id,
        *(setting(trial.params.get(name, MISSING)) for name in record.searched),
        *(ranged(trial, name).replace(" ±", "\n±") for name in record.objectives),
        *ends,
        verdict(trial),
        *([chance(trial)] if record.replicated else []),
        *([trial.continued_from or MISSING] if _continued(record) else []),
    ]


def _continued(record: SweepRecord) -> bool:
    return any(trial.continued_from is not None for trial in record.trials)
