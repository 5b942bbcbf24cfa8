"""The front as a still picture, for reports and for MLflow's list of artifacts."""

from __future__ import annotations

import itertools
import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.path import Path
from numpy.typing import ArrayLike

from dualsweep.analysis.amortised import line
from dualsweep.analysis.columns import Column, columns, default_axes, view_range
from dualsweep.analysis.figures.canvas import new_figure, png_bytes
from dualsweep.analysis.figures.marks import AMORTISED, LINE, MARKS, Mark, kinds, on_front, steps_first_across
from dualsweep.analysis.front import Front
from dualsweep.analysis.trials import SweepRecord

_PAIRS_SHOWN = 6
_GREY = "#5b6675"
#: The outlines of markers with something inside, by their first character, and how far a cross in it reaches.
_OUTLINES = {
    "o": (Path.circle(), 0.55),
    "D": (Path([(0.0, 1.0), (1.0, 0.0), (0.0, -1.0), (-1.0, 0.0), (0.0, 1.0)]), 0.36),
    "p": (Path.unit_regular_polygon(5), 0.4),
}
#: Entries of the legend in one row.
_LEGEND = 4


def front_png(record: SweepRecord, front: Front) -> bytes:
    """Return the front as PNG bytes.

    Two objectives: one scatter with the front as steps. More: every pair of them, at most six, without
    steps, since a front seen along an axis is not a line. One: it against the worst slack. Bars are 95 %
    intervals, of trials that are on the front or tied with it, and of all that are several trainings.
    """
    available = {column.key: column for column in columns(record)}
    objectives = list(record.objectives)
    if len(objectives) < 3:
        pairs = [default_axes(record, list(available.values()))]
    else:
        pairs = list(itertools.combinations(objectives, 2))[:_PAIRS_SHOWN]
    across = min(len(pairs), 3)
    down = -(-len(pairs) // across)
    figure = new_figure(8.0 if across == 1 else 4.4 * across, 5.6 if across == 1 else 4.0 * down + 0.7)
    unseen = 0
    for place, (x, y) in enumerate(pairs, 1):
        axes = figure.add_subplot(down, across, place)
        unseen = max(unseen, _draw(axes, record, front, available[x], available[y]))
    _titles(figure, record, front, unseen)
    return png_bytes(figure)


def _draw(axes: Axes, record: SweepRecord, front: Front, x: Column, y: Column) -> int:
    """Draw one pair of axes; returns how many trials are not in view."""
    across, up = np.asarray(x.values), np.asarray(y.values)
    marked = np.asarray(kinds(record, front))
    if set(record.objectives) == {x.key, y.key} and len(record.objectives) == 2:
        best = np.array([on_front(kind) for kind in marked], dtype=bool)
        _draw_steps(axes, record, across[best], up[best])
    if record.amortised is not None:
        along, height = line(record.amortised, x.key, y.key, record.objectives).T
        axes.plot(along, height, color=AMORTISED, linewidth=1.2, marker=".", markersize=4, zorder=1.7)
    for order, (kind, mark) in enumerate(MARKS.items(), 2):
        chosen = (marked == kind) & np.isfinite(across) & np.isfinite(up)
        axes.add_line(_line(mark, across[chosen], up[chosen], zorder=order))
        if on_front(kind) or kind == "tied" or record.replicated:
            _draw_intervals(axes, mark, (x, y), chosen, order - 0.5)
    x_range, y_range = view_range(x, record, front), view_range(y, record, front)
    if x_range and y_range:
        axes.set_xlim(*x_range)
        axes.set_ylim(*y_range)
    else:
        axes.text(0.5, 0.5, "no trial has finite values here", ha="center", color=_GREY, transform=axes.transAxes)
    for zero, key in ((axes.axvline, x.key), (axes.axhline, y.key)):
        if "slack" in key:
            zero(0.0, color=_GREY, linewidth=0.9, linestyle=":")
    axes.set_xlabel(x.label)
    axes.set_ylabel(y.label)
    axes.grid(color="#e8ebef", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    return int((~((across >= left) & (across <= right) & (up >= bottom) & (up <= top))).sum())


def _draw_steps(axes: Axes, record: SweepRecord, across: np.ndarray, up: np.ndarray) -> None:
    direction = next(iter(record.objectives.values()))
    order = np.argsort(across, kind="stable")
    where = "post" if steps_first_across(direction) else "pre"
    axes.plot(across[order], up[order], color=LINE, linewidth=1.6, drawstyle=f"steps-{where}", zorder=1.5)


def _draw_intervals(axes: Axes, mark: Mark, drawn: tuple[Column, Column], chosen: np.ndarray, zorder: float) -> None:
    """Draw the 95 % intervals of trials as bars through their points."""
    x, y = drawn
    halves = {name: np.asarray(column.halves)[chosen] for name, column in (("xerr", x), ("yerr", y))}
    bars = {name: np.nan_to_num(each) for name, each in halves.items() if np.isfinite(each).any()}
    if bars:
        across, up = np.asarray(x.values)[chosen], np.asarray(y.values)[chosen]
        axes.errorbar(across, up, **bars, fmt="none", ecolor=mark.colour, elinewidth=0.9, alpha=0.55, capsize=2, zorder=zorder)


def _line(mark: Mark, across: ArrayLike, up: ArrayLike, *, label: str = "", zorder: float = 2) -> Line2D:
    """Return unconnected points of one kind."""
    return Line2D(
        np.asarray(across),
        np.asarray(up),
        linestyle="",
        marker=marker_path(mark.marker),
        markersize=(1.05 if mark.marker in ("Dx", "D.") else 0.78) * mark.size,  # as wide as the filled one
        markerfacecolor=mark.colour if mark.filled else "white" if len(mark.marker) > 1 else "none",  # the front's line stays out
        markeredgecolor="white" if mark.filled else mark.colour,
        markeredgewidth=0.8 if mark.filled else 1.3,
        alpha=0.5 if mark.faint else 1.0,
        label=label,
        zorder=zorder,
    )


def marker_path(name: str) -> str | Path:
    """A marker's own name, or the outline of one with a dot or a cross inside."""
    if len(name) == 1:
        return name
    around, reach = _OUTLINES[name[0]]
    arms = reach * np.array([(-1, -1), (1, 1), (-1, 1), (1, -1)])
    cross = Path(arms, [Path.MOVETO, Path.LINETO, Path.MOVETO, Path.LINETO])
    return Path.make_compound_path(around, cross if name[1] == "x" else Path.circle(radius=0.15))


def _titles(figure: Figure, record: SweepRecord, front: Front, unseen: int) -> None:
    marked = kinds(record, front)
    handles = [
        _line(mark, [], [], label=f"{mark.name} ({marked.count(kind)})")
        for kind, mark in reversed(MARKS.items())
        if kind in marked
    ]
    if record.amortised is not None:
        handles.append(Line2D([], [], color=AMORTISED, linewidth=1.2, marker=".", label="amortised, one network"))
    if handles:
        across = len(handles) if len(handles) <= _LEGEND else 3
        figure.legend(handles=handles, loc="outside lower center", ncols=across, frameon=False, fontsize=10)
    note = front.note + (f" {unseen} far off or without values: not in view." if unseen else "")
    lines = textwrap.wrap(note, int(13 * figure.get_figwidth()))
    below = "\n" * len(lines)
    figure.suptitle(f"{record.experiment_name}{below}", x=0.01, ha="left", fontsize=14, fontweight="bold", linespacing=1.05)
    figure.text(0.012, 1 - 0.37 / figure.get_figheight(), "\n".join(lines), color=_GREY, fontsize=9.5, va="top")
