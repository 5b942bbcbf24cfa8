"""The guide that is a notebook runs as it stands, and what a notebook shows while something trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "quickstart.ipynb"


def executed(notebook: Any, folder: Path) -> list[Any]:
    """The outputs of its code cells, each a list, run in `folder`."""
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def test_a_notebook_shows_one_bar_in_place(tmp_path: Path) -> None:
    code = """
from dualsweep.sweeps.output import Screen
from dualsweep.sweeps.progress import Progress
with Progress(Screen(), total=2) as progress:
    progress.started("0000")
    for step in (2, 5):
        progress.reported("0000", {"step": step, "steps": 10, "seconds": 1.0, "points": [{"metrics": {"objective": 0.5}}]})
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    (outputs,) = executed(notebook, tmp_path)
    bars = [each.data["text/html"] for each in outputs if "progress" in each.get("data", {}).get("text/html", "")]
    assert len(bars) == 1 and 'value="0.250"' in bars[0] and "trial 0000 step 5/10  objective 0.5" in bars[0]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.dear
def test_the_quickstart_runs_as_it_stands(tmp_path: Path) -> None:
    notebook = nbformat.read(GUIDE, as_version=4)
    run, verdicts, history, shape, swept, trials, trial = executed(notebook, tmp_path)
    assert "data:image/png;base64," in run[-1].data["text/html"] and "<Run rare-fours: " in run[-1].data["text/plain"]
    assert "four" in verdicts[-1].data["text/markdown"] and "multiplier/four" in history[-1].data["text/plain"]
    assert shape[-1].data["text/plain"] == "(4, 1, 8, 8)"
    assert "<Sweep rare-fours-budgets: 2 trials" in swept[-1].data["text/plain"]
    assert "0001" in trials[-1].data["text/plain"] and "<Run rare-fours-budgets 0000" in trial[-1].data["text/plain"]
    assert (tmp_path / "runs/rare-fours/verdicts.json").exists() and (tmp_path / "runs/rare-fours-budgets/review.json").exists()
