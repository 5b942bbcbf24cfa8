"""`dualsweep compare`: several sweeps read from MLflow, on one figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from dualsweep.analysis.comparing import Comparison, Grouping, compare
from dualsweep.analysis.comparison_text import comparison_table, markdown, notes, summary
from dualsweep.analysis.figures.compare_html import compare_html
from dualsweep.analysis.figures.compare_png import compare_png
from dualsweep.analysis.reading import read_sweep
from dualsweep.sweeps.reports.place import sweep_place
from dualsweep.trainer.storage import write_file


def compare_sweeps(
    names: Sequence[str], tracking_uri: str | None, grouping: Grouping, output: Path, console: Console
) -> dict[str, Any]:
    """Reads the sweeps, prints their table, and writes `compare.png`, `.html`, `.md` and `.json`; returns the last.

    Raises:
        ReviewError: no such store or sweep, or they cannot be compared (`dualsweep.analysis.comparing.compare`).
        InputError: a sweep file is no good.
    """
    places = [sweep_place(name, tracking_uri) for name in names]
    comparison = compare([read_sweep(place.uri, place.run) for place in places], grouping)
    made = summary(comparison)
    console.print(comparison_table(comparison, width=console.width))
    for note in notes(comparison):
        console.print(note, highlight=False, soft_wrap=True)
    written = _write(comparison, made, output)
    console.print(f"comparison: {'  '.join(str(path) for path in written)}", highlight=False, soft_wrap=True)
    return made


def _write(comparison: Comparison, made: dict[str, Any], output: Path) -> list[Path]:
    output.mkdir(parents=True, exist_ok=True)
    contents = {
        "compare.html": compare_html(comparison).encode(),
        "compare.png": compare_png(comparison),
        "compare.md": markdown(comparison).encode(),
        "compare.json": (json.dumps(made, indent=2) + "\n").encode(),
    }
    for name, content in contents.items():
        write_file(output / name, content)
    return [output / name for name in contents]
