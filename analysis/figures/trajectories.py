"""How the multipliers and the slacks of one trial moved: the first thing to look at in a dual method.

A multiplier rises while its slack is negative and falls while it is positive; a healthy run ends with flat
multipliers, and with the slack near 0 wherever the multiplier is positive.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.figures.canvas import new_figure, png_bytes

#: One constraint's history: (step, value) in any order.
Trajectory = Sequence[tuple[int, float]]
_COLOURS = ("#0b2e63", "#c2410c", "#2b8a5b", "#8b3fb0", "#b08900", "#3b9ad9", "#b0305c", "#4a4f58")
_DASHES = ("-", "--", "-.", ":")
_GREY = "#b4bac3"


def trajectories_png(
    multipliers: Mapping[str, Trajectory], slacks: Mapping[str, Trajectory], *, title: str = "",
    equalities: Collection[str] = (),
) -> bytes:  # fmt: skip
    """Return a PNG of the multipliers above the slacks, against the primal step, one line a constraint.

    With more than eight constraints, the eight with the smallest final slack, of `equalities` the largest on either side, are
    drawn in colour and named, the rest in grey. Non-finite values leave gaps.

    Raises:
        ReviewError: there is nothing to draw.
    """
    if not any(multipliers.values()) and not any(slacks.values()):
        raise ReviewError(
            "There must be at least one (step, value) to draw, but got no multipliers and no slacks. "
            "Draw trajectories only for problems with constraints."
        )
    names = _by_need(multipliers, slacks, equalities)
    figure = new_figure(8.0, 5.6)
    upper = figure.add_subplot(2, 1, 1)
    lower = figure.add_subplot(2, 1, 2, sharex=upper)
    # The lines were drawn from the least needy up, so that those in need lie on top.
    drawn = _draw(upper, multipliers, names), _draw(lower, slacks, names)
    lower.axhline(0.0, color="#4a4f58", linewidth=0.9)
    upper.set_ylabel("multiplier λ")
    upper.tick_params(labelbottom=False)
    lower.set_ylabel(_slack_label(slacks, equalities))
    lower.set_xlabel("primal step")
    figure.align_ylabels()
    figure.legend(handles=(drawn[0] or drawn[1])[::-1], loc="outside lower center", ncols=5, frameon=False, fontsize=10)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold")
    return png_bytes(figure)


def _slack_label(slacks: Mapping[str, Trajectory], equalities: Collection[str]) -> str:
    """What the slacks' axis says, by whether there are inequalities, equalities or both."""
    equal = [name in equalities for name in slacks]
    if not any(equal):
        return "slack (≥ 0: satisfied)"
    return "slack (0: satisfied)" if all(equal) else "slack (≥ 0, of equalities 0: satisfied)"


def _by_need(
    multipliers: Mapping[str, Trajectory], slacks: Mapping[str, Trajectory], equalities: Collection[str]
) -> list[str]:  # fmt: skip
    """Order the constraints by the room that their final slack leaves, the least first; those without one come last."""

    def final(name: str) -> float:
        history = sorted(slacks.get(name, ()))
        if not history or not math.isfinite(history[-1][1]):
            return math.inf
        return -abs(history[-1][1]) if name in equalities else history[-1][1]

    return sorted({*multipliers, *slacks}, key=lambda name: (final(name), name))


def _draw(axes: Axes, histories: Mapping[str, Trajectory], names: Sequence[str]) -> list[Line2D]:
    """Returns the lines that are named, also by what begins with `_`, which matplotlib would leave out of a legend."""
    named = []
    others = len(names) - len(_COLOURS)
    for place, name in reversed([pair for pair in enumerate(names) if pair[1] in histories]):
        points = sorted(histories.get(name, ()))
        steps = [step for step, _ in points]
        values = [value if math.isfinite(value) else math.nan for _, value in points]
        if place >= len(_COLOURS):
            label = f"{others} others" if place == len(_COLOURS) else None
            lines = axes.plot(steps, values, color=_GREY, linewidth=0.8, label=label)
            named += lines if label else []
            continue
        # Neighbouring lines differ in dash too, so that they are told apart in grey.
        named += axes.plot(
            steps,
            values,
            color=_COLOURS[place],
            linestyle=_DASHES[place % len(_DASHES)],
            linewidth=1.7,
            marker="o" if len(points) == 1 else None,
            label=name,
        )
    axes.grid(color="#e8ebef", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return named
