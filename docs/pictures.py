"""The pictures of docs/concepts.md, computed by the rules that trainings use, on a problem whose answer is known.

`python docs/pictures.py` writes `docs/images/slack.png`, `multiplier.png` and `band.png`. The problem: minimise x² under
(x - 2)² <= b, so that the front is (2 - √b)² and the price of the budget (2 - √b) / √b.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dualsweep.analysis.certified.band import band
from dualsweep.analysis.certified.observations import Observations
from dualsweep.trainer.dual.rule import Gains
from dualsweep.trainer.dual.rules.ascent import ascent

IMAGES = Path(__file__).resolve().parent / "images"
Vector = NDArray[np.float64]
BUDGET = 1.0
DARK, MIDDLE, LIGHT = "#1b3a5c", "#c25b12", "#9aa7b5"


def slack() -> Figure:
    """Four values with their 95 % intervals about a budget."""
    figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
    rows = [("met", 0.62, 0.12, "o", DARK), ("undecided", 0.94, 0.14, "s", LIGHT), ("violated", 1.33, 0.13, "X", MIDDLE)]
    for height, (_, value, half, mark, colour) in enumerate(reversed(rows)):
        axes.errorbar(value, height, xerr=half, fmt=mark, color=colour, markersize=9, capsize=4, linewidth=2)
        sign = "room left" if value < BUDGET else "missed by"
        axes.annotate("", (BUDGET, height + 0.32), (value, height + 0.32), arrowprops={"arrowstyle": "<->", "color": colour})
        axes.text(1.56, height, f"slack {BUDGET - value:+.2f}: {sign} {abs(BUDGET - value):.2f}", va="center")
    axes.axvline(BUDGET, color="black", linestyle="--")
    axes.text(BUDGET, 2.62, "budget", ha="center", va="bottom")
    axes.set(xlim=(0.4, 2.2), ylim=(-0.5, 2.6), yticks=range(3), yticklabels=[row[0] for row in reversed(rows)])
    axes.set_xlabel("value of the constraint, with its 95 % interval (no unit)")
    return figure


def trajectory(step_size: float, steps: int) -> tuple[Vector, Vector]:
    """Multipliers and slacks [steps] of dual ascent with one noisy primal step between any two dual steps."""
    rng, x, multiplier = np.random.default_rng(0), 0.0, np.zeros(1)
    told: list[tuple[float, float]] = []
    for _ in range(steps):
        x -= 0.02 * (2 * x + float(multiplier[0]) * 2 * (x - 2))
        slacks = np.array([BUDGET - (x - 2) ** 2 + 0.05 * rng.standard_normal()])
        multiplier = np.maximum(0.0, ascent(multiplier, np.zeros(1), slacks, 1.0, Gains(step_size)).multipliers)
        told.append((float(multiplier[0]), float(slacks[0])))
    multipliers, slacks = np.array(told).T
    return multipliers, slacks


def multiplier() -> Figure:
    """The multiplier and the slack of two trainings, one that settles and one whose dual steps are too large."""
    figure, (above, below) = plt.subplots(2, 1, figsize=(7, 4.6), sharex=True, layout="constrained")
    for step_size, style, colour in ((0.015, "-", DARK), (0.6, "--", MIDDLE)):
        multipliers, slacks = trajectory(step_size, 150)
        label = f"dual step size {step_size:g}: {'settles' if step_size < 0.1 else 'overshoots and swings'}"
        above.plot(multipliers, style, color=colour, label=label)
        below.plot(slacks, style, color=colour)
    above.axhline((2 - BUDGET**0.5) / BUDGET**0.5, color="black", linewidth=0.8, linestyle=":", label="the price: 1")
    below.axhline(0, color="black", linewidth=0.8)
    above.set_ylabel("multiplier λ")
    below.set(xlabel="dual steps", ylabel="slack (budget - value)")
    above.legend(loc="upper right", framealpha=0.95)
    return figure


def certified() -> Figure:
    """The front, three trials with their slopes, and the band that these leave."""
    budgets = np.array([0.25, 1.0, 2.25])
    roots = np.sqrt(budgets)
    objective, prices = (2 - roots) ** 2, (2 - roots) / roots
    errors = np.full(3, 0.01)
    column = {"values": budgets[:, None], "multipliers": prices[:, None]}
    trials = Observations(
        budgets[:, None], objective, **column, objective_error=errors, value_errors=errors[:, None],
        multiplier_errors=0.03 * prices[:, None], shared=np.zeros(1, dtype=np.intp), signed=np.zeros(1, dtype=np.bool_),
    )  # fmt: skip
    at = np.linspace(0.1, 3.2, 300)
    found = band(trials, at[:, None], 1.96, ideal=0.0)
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    upper = np.where(np.isfinite(found.upper), found.upper, 4.0)
    axes.fill_between(at, found.lower, upper, color=LIGHT, alpha=0.5, label="band: the front runs in here (95 %)")
    axes.plot(at, (2 - np.sqrt(at)) ** 2, ":", color="black", label="the front, which nobody knows")
    for b, value, price in zip(budgets, objective, prices, strict=True):
        reach = np.array([-0.28, 0.28])
        axes.plot(b + reach, value - price * reach, color=MIDDLE, linewidth=2, label="slope -λ" if b == 1 else None)
    axes.errorbar(budgets, objective, yerr=1.96 * errors, fmt="D", color=DARK, markersize=8, capsize=3, label="trials")
    axes.set(
        xlabel="budget, or the value of the constraint (no unit)", ylabel="objective (no unit)", xlim=(0.1, 3.2), ylim=(-0.1, 3)
    )
    axes.legend(loc="upper right")
    return figure


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    mpl.use("Agg")
    mpl.rcParams |= {"font.size": 11, "axes.spines.top": False, "axes.spines.right": False}
    for name, drawn in (("slack", slack), ("multiplier", multiplier), ("band", certified)):
        drawn().savefig(folder / f"{name}.png", dpi=130)


if __name__ == "__main__":
    main()
