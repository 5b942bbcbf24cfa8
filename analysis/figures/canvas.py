"""A matplotlib figure without pyplot: no global state, no display, so it is safe in any thread."""

from __future__ import annotations

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

DPI = 144


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches, at 144 dots an inch."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def png_bytes(figure: Figure) -> bytes:
    """Return the figure as PNG, its text as it is written: between two `$` matplotlib would read mathematics, and may fail."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white")
    return buffer.getvalue()
