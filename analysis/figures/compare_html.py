"""A comparison of sweeps as one HTML file with everything in it: it needs no network."""

from __future__ import annotations

import html
from typing import Any

from dualsweep.analysis.comparing import AXES, WANTED, Comparison, Group
from dualsweep.analysis.comparison_text import heading, notes, rows
from dualsweep.analysis.figures.compare_png import name, shares
from dualsweep.analysis.figures.lines import style
from dualsweep.analysis.figures.pages import filled, json_for_script, part

_GAP = 0.05
_DIGITS = 6


def compare_html(comparison: Comparison) -> str:
    """Return the page: a panel for each kind of cost, with the legend switching groups in all of them, and the table."""
    head, table = rows(comparison)
    cells = "".join(f"<th>{html.escape(each)}</th>" for each in head)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(each)}</td>' for each in row)}</tr>" for row in table)
    pieces = {
        "TITLE": "Hypervolume by what was spent",
        "HEADING": html.escape(heading(comparison)),
        "TABLE": f"<table><tr>{cells}</tr>{body}</table>",
        "NOTES": "".join(f'<p class="note">{html.escape(each)}</p>' for each in notes(comparison)),
        "FIGURE": json_for_script(figure(comparison)),
        "LOADER": part("plotly.js"),
    }
    return filled("compare.html", pieces)


def figure(comparison: Comparison) -> dict[str, Any]:
    """The figure as plotly.js takes it: `data` and `layout`."""
    axes = comparison.axes
    width = (1.0 - _GAP * (len(axes) - 1)) / len(axes)
    layout: dict[str, Any] = {
        "margin": {"t": 20, "r": 10, "b": 60, "l": 70},
        "legend": {"orientation": "h", "y": -0.18},
        "hovermode": "closest",
        "plot_bgcolor": "white",
        "shapes": [],
    }
    data: list[dict[str, Any]] = []
    for place, axis in enumerate(axes):
        suffix = "" if place == 0 else str(place + 1)
        left = place * (width + _GAP)
        layout[f"xaxis{suffix}"] = {
            "title": {"text": AXES[axis]}, "domain": [left, left + width], "anchor": f"y{suffix}", "rangemode": "tozero",
            "gridcolor": "#e8ebef", "zeroline": False,
        }  # fmt: skip
        layout[f"yaxis{suffix}"] = {
            "anchor": f"x{suffix}", "range": [0, 1.06], "tickformat": ".0%", "gridcolor": "#e8ebef", "zeroline": False,
            **({"title": {"text": "hypervolume, share of the best sweep's"}} if place == 0 else {"matches": "y"}),
        }  # fmt: skip
        layout["shapes"].append(
            {
                "type": "line", "xref": f"x{suffix} domain", "yref": f"y{suffix}", "x0": 0, "x1": 1, "y0": WANTED, "y1": WANTED,
                "line": {"color": "#5b6675", "width": 1, "dash": "dot"},
            }
        )  # fmt: skip
        for number, group in enumerate(comparison.groups):
            data += _traces(comparison, group, number, axis, suffix, first=place == 0)
    return {"data": data, "layout": layout}


def _traces(comparison: Comparison, group: Group, number: int, axis: str, suffix: str, first: bool) -> list[dict[str, Any]]:
    """The band of a group, where it has one, and its median."""
    look = style(number)
    costs, spread = shares(comparison, group, axis)
    least, median, largest = ([float(f"{share:.{_DIGITS}g}") for share in each] for each in spread)
    across = [float(f"{cost:.{_DIGITS}g}") for cost in costs]
    shared = {"x": across, "xaxis": f"x{suffix}", "yaxis": f"y{suffix}", "legendgroup": str(number), "mode": "lines"}
    steps = {"shape": "hv", "color": look.colour}
    traces: list[dict[str, Any]] = []
    if len(group.courses) > 1:
        edge = {"line": {**steps, "width": 0}, "showlegend": False, "hoverinfo": "skip"}
        traces += [{**shared, "y": least, **edge}, {**shared, "y": largest, **edge, "fill": "tonexty", "opacity": 0.3}]
        traces[-1]["fillcolor"] = f"rgba({', '.join(str(int(look.colour[i : i + 2], 16)) for i in (1, 3, 5))}, 0.15)"
    sizes = [0] * (len(across) - 1) + [9]
    traces.append(
        {
            **shared, "y": median, "mode": "lines+markers", "line": {**steps, "width": 2, "dash": look.plotly_dash},
            "marker": {"symbol": look.symbol, "size": sizes, "color": look.colour}, "name": name(group), "showlegend": first,
            "hovertemplate": f"{html.escape(group.label)}<br>%{{x:,.4~g}} {AXES[axis]}<br>%{{y:.1%}} of the best<extra></extra>",
        }
    )  # fmt: skip
    return traces
