"""A comparison of sweeps as a still picture: hypervolume against what was spent, a panel for each kind of cost."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, PercentFormatter

from dualsweep.analysis.comparing import AXES, WANTED, Comparison, Group
from dualsweep.analysis.comparison_text import heading
from dualsweep.analysis.figures.canvas import new_figure, png_bytes
from dualsweep.analysis.figures.lines import style

_GREY = "#5b6675"


def compare_png(comparison: Comparison) -> bytes:
    """Return the comparison as PNG bytes.

    A group of several sweeps is its median as a line, and the range from the least to the largest as a band. A line ends, with
    a mark, where the longest sweep of its group ended.
    """
    axes = comparison.axes
    figure = new_figure(4.6 * len(axes) + 0.6, 4.9)
    for place, axis in enumerate(axes, 1):
        drawn = figure.add_subplot(1, len(axes), place)
        _draw(drawn, comparison, axis)
        if place == 1:
            drawn.set_ylabel("hypervolume, share of the best sweep's")
    handles = [
        Line2D([], [], color=style(i).colour, linestyle=style(i).dash, marker=style(i).marker, linewidth=1.8, label=name(group))
        for i, group in enumerate(comparison.groups)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)), frameon=False, fontsize=10)
    figure.suptitle("Hypervolume by what was spent\n", x=0.01, ha="left", fontsize=13, fontweight="bold", linespacing=1.05)
    figure.text(0.011, 1 - 0.37 / figure.get_figheight(), heading(comparison), color=_GREY, fontsize=9, va="top")
    return png_bytes(figure)


def name(group: Group) -> str:
    """A group in a legend."""
    count = len(group.courses)
    return group.label if count == 1 else f"{group.label}, median and range of {count}"


def shares(comparison: Comparison, group: Group, axis: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Costs [N] and the least, median and largest share [N] of the best hypervolume there."""
    costs = group.points(axis)
    return costs, [each / (comparison.best or 1.0) for each in group.spread(axis, costs)]


def _draw(axes: Axes, comparison: Comparison, axis: str) -> None:
    axes.axhline(WANTED, color=_GREY, linewidth=0.9, linestyle=(0, (1, 2)))
    axes.annotate(
        f"{WANTED:.0%}", (0.0, WANTED), xycoords=("axes fraction", "data"), xytext=(3, 3), textcoords="offset points",
        color=_GREY, fontsize=8.5,
    )  # fmt: skip
    for place, group in enumerate(comparison.groups):
        look = style(place)
        costs, (least, median, largest) = shares(comparison, group, axis)
        if len(group.courses) > 1:
            axes.fill_between(costs, least, largest, step="post", color=look.colour, alpha=0.14, linewidth=0)
        axes.plot(costs, median, color=look.colour, linestyle=look.dash, linewidth=1.8, drawstyle="steps-post", zorder=3)
        axes.plot(costs[-1:], median[-1:], color=look.colour, marker=look.marker, markersize=6.5, linestyle="", zorder=4)
    axes.set_xlabel(AXES[axis])
    axes.set_ylim(0.0, 1.06)
    axes.set_xlim(left=0.0)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    if axis == "samples":
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(color="#e8ebef", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
