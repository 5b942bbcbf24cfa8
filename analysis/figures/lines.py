"""How one of several lines is drawn, the same in every figure: dashes and end marks tell them apart where colours do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class LineStyle:
    """A line's colour, its dashes in matplotlib and in plotly, and the mark at its end in both."""

    colour: str
    dash: Literal["-", "--", "-.", ":"]
    plotly_dash: str
    marker: str
    symbol: str


#: Neighbours differ in lightness too, so that grey suffices.
STYLES = (
    LineStyle("#0b2e63", "-", "solid", "o", "circle"),
    LineStyle("#e08214", "--", "dash", "s", "square"),
    LineStyle("#1b7f5c", "-.", "dashdot", "^", "triangle-up"),
    LineStyle("#b2abd2", ":", "dot", "D", "diamond"),
    LineStyle("#7f1d3d", "--", "longdash", "v", "triangle-down"),
    LineStyle("#4c9be8", "-", "solid", "X", "x"),
    LineStyle("#5b6675", "--", "dash", "P", "cross"),
    LineStyle("#c9a400", "-.", "dashdot", "*", "star"),
)


def style(place: int) -> LineStyle:
    """The style of line `place`, from 0; after the last it begins again."""
    return STYLES[place % len(STYLES)]
