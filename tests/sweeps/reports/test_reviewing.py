"""`dualsweep front` on a sweep's own folder: what is shown and written, whatever that folder refuses."""

from __future__ import annotations

import json
from pathlib import Path

from tests.sweeps.here import dualsweep_here
from tests.sweeps.in_process import finished


def test_a_folder_that_takes_no_summary_is_reviewed_all_the_same_and_that_is_said(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    in_the_way = folder / "runs/s/.review.json.part"  # it stops root too
    in_the_way.mkdir()
    done = dualsweep_here("front", "runs/s", "--output", "elsewhere", "--json", "found.json", folder=folder)
    assert done.returncode == 0, done
    assert "\nfront: " in done.stdout
    [note] = [line for line in done.stdout.splitlines() if line.startswith("note:")]
    assert "runs/s cannot be written (Is a directory), so what it recommends by itself is as before" in note
    assert json.loads((folder / "found.json").read_text())["front"] and (folder / "elsewhere/front.html").exists()
