"""A comparison of sweeps in words and numbers: rows for people, Markdown, JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dualsweep.analysis.comparing import AXES, WANTED, Comparison, Course, Group
from dualsweep.analysis.text import MISSING, number

#: From ten thousand on, numbers are shown by their thousands.
_LARGE = ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"))
_HEADS = {"trials": "trials", "samples": "samples", "seconds": "seconds"}


def heading(comparison: Comparison) -> str:
    """What is compared, at which reference point, as one sentence."""
    point = ", ".join(
        f"{name} {number(value)}" for name, value in zip(comparison.objectives, comparison.reference_point, strict=True)
    )
    return f"Hypervolume against {point} ({comparison.reference_from}); the best sweep has {number(comparison.best)}."


def rows(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """The table: its head, and a row for each group; several sweeps as `median (least to largest)`, on two lines."""
    wanted = WANTED * comparison.best
    head = ["", "sweeps", "trials", "feasible", "hypervolume", "of best"]
    head += [f"{_HEADS[axis]} to {WANTED:.0%}" for axis in comparison.axes]
    table = []
    for group in comparison.groups:
        cells = [group.label, str(len(group.courses))]
        cells += [_spread(group, lambda each: float(len(each.volumes))), _spread(group, lambda each: float(each.feasible))]
        cells += [_spread(group, lambda each: each.final), _spread(group, lambda each: _share(each, comparison), _percent)]
        cells += [_spread(group, lambda each, axis=axis: each.cost_of(axis, wanted)) for axis in comparison.axes]  # type: ignore[misc]  # a default binds it
        table.append(cells)
    return head, table


def notes(comparison: Comparison) -> list[str]:
    """What a reader must know beside the table."""
    none = "No sweep has a hypervolume above 0: no feasible trial is better than the reference point."
    lines = [] if comparison.best > 0 else [none]
    unfinished = sum(course.unfinished for course in comparison.courses)
    if unfinished:
        lines.append(f"{unfinished} trials that have not ended are left out.")
    for axis in AXES:
        lacking = sorted({course.name for course in comparison.courses if axis not in course.costs})
        if lacking:
            lines.append(f"{AXES[axis][0].upper()}{AXES[axis][1:]}: not recorded by {', '.join(lacking)}, so not compared.")
    return lines


def comparison_table(comparison: Comparison, *, width: int = 120) -> Table:
    """The comparison as a table for the terminal; where `width` characters are too few for the ranges, medians alone."""
    table = _table(comparison, ranges=True)
    return table if Console(width=1000).measure(table).maximum <= width else _table(comparison, ranges=False)


def _table(comparison: Comparison, ranges: bool) -> Table:
    head, table = rows(comparison)
    made = Table(title=Text(heading(comparison), style="bold"), title_justify="left", box=None, pad_edge=False)
    for place, name in enumerate(head):
        made.add_column(
            Text(name.replace(" to ", "\nto ").replace("rvol", "r-\nvol")), justify="right" if place else "left", no_wrap=True
        )
    for cells in table:
        made.add_row(*(Text(cell if ranges else cell.partition("\n")[0]) for cell in cells))
    return made


def markdown(comparison: Comparison) -> str:
    """The comparison as Markdown, with the sweeps' runs below it."""
    head, table = rows(comparison)
    lines = [heading(comparison), "", _line(head), "|" + "---|" * len(head), *(_line(cells) for cells in table), ""]
    lines += [f"{note}\n" for note in notes(comparison)]
    lines += [f"- {course.label}: {course.name}, run {course.run_id}" for course in comparison.courses]
    return "\n".join(lines) + "\n"


def summary(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON: infinities, of what was never reached, are null."""
    wanted = WANTED * comparison.best
    return {
        "objectives": dict(comparison.objectives),
        "reference_point": list(comparison.reference_point),
        "reference_from": comparison.reference_from,
        "best": comparison.best,
        "groups": [_group(group, comparison, wanted) for group in comparison.groups],
    }


def _group(group: Group, comparison: Comparison, wanted: float) -> dict[str, Any]:
    return {
        "label": group.label,
        "share_of_best": _finite(group.middle(lambda each: _share(each, comparison))[1]),
        "to_95": {axis: _finite(group.middle(lambda each, at=axis: each.cost_of(at, wanted))[1]) for axis in comparison.axes},  # type: ignore[misc]  # a default binds it
        "sweeps": [
            {
                "name": sweep.name,
                "run_id": sweep.run_id,
                "seed": sweep.seed or None,
                "trials": len(sweep.volumes),
                "feasible": sweep.feasible,
                "unfinished": sweep.unfinished,
                "hypervolume": list(sweep.volumes),
                "costs": {axis: list(sweep.costs[axis]) for axis in comparison.axes},
                "share_of_best": _finite(_share(sweep, comparison)),
                "to_95": {axis: _finite(sweep.cost_of(axis, wanted)) for axis in comparison.axes},
            }
            for sweep in group.courses
        ],
    }


def _share(course: Course, comparison: Comparison) -> float:
    return course.final / comparison.best if comparison.best > 0 else math.nan


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _percent(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:.1%}"


def _plain(value: float) -> str:
    if math.isinf(value):
        return "never"
    unit, letter = next(((unit, letter) for least, unit, letter in _LARGE if abs(value) >= least), (1.0, ""))
    return f"{number(value / unit)}{letter}"


def _spread(group: Group, of: Callable[[Course], float], shown: Callable[[float], str] = _plain) -> str:
    least, median, largest = group.middle(of)
    return (
        shown(median) if least == largest or len(group.courses) == 1 else f"{shown(median)}\n({shown(least)} to {shown(largest)})"
    )


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
