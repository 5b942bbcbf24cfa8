"""Coverage by room: shares of sums and not means of shares, and files by their real paths."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.covered import CORE, SHELL, Reached, by_file, by_room, least_reached

ROOT = Path(__file__).parent.parent


def summary(lines: int, lines_reached: int, branches: int, branches_reached: int) -> dict[str, Any]:
    counts = {
        "num_statements": lines,
        "covered_lines": lines_reached,
        "num_branches": branches,
        "covered_branches": branches_reached,
    }
    return {"summary": counts}


REPORT = {
    "files": {
        "trainer/rng.py": summary(10, 10, 2, 2),
        "trainer/dual/problem.py": summary(90, 60, 18, 7),
        "trainer/ray_shell/host.py": summary(50, 0, 10, 0),
        "analysis/links.py": summary(4, 4, 0, 0),
    }
}


def test_rooms_are_sums_over_their_files_and_the_shell_is_apart() -> None:
    rooms = by_room(by_file(REPORT))
    assert rooms == {"analysis": Reached(4, 4), CORE: Reached(100, 70, 20, 9), SHELL: Reached(50, 0, 10, 0)}
    assert (rooms[CORE].of_branches, rooms["analysis"].of_branches) == (0.45, 1.0)
    assert str(rooms[CORE]).split() == ["100", "70.0%", "20", "45.0%"]


def test_a_file_that_is_reached_through_a_link_is_the_one_that_it_leads_to() -> None:
    through = {"files": {"dualsweep/trainer/rng.py": summary(10, 9, 2, 1)}}
    assert by_file(through) == {"trainer/rng.py": Reached(10, 9, 2, 1)}


def test_the_files_with_the_most_branches_left_come_first() -> None:
    assert least_reached(by_file(REPORT), CORE) == ["  11 branches left in trainer/dual/problem.py"]


@pytest.mark.dear
@pytest.mark.parametrize("code", ["import dualsweep.trainer.recipe.recipe", ""])
def test_what_is_imported_through_the_links_is_measured_under_the_rooms(code: str, tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}\n")
    data = ["--data-file", str(tmp_path / "data")]
    subprocess.run([sys.executable, "-m", "coverage", "run", *data, str(tmp_path / "run.py")], cwd=ROOT, check=True)
    done = subprocess.run(
        [sys.executable, "-m", "tests.covered", str(tmp_path / "data")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "reach at least 90% of the core's branches" in done.stderr, done.stdout + done.stderr
    (core,) = (line for line in done.stdout.splitlines() if line.startswith(CORE))
    assert (core.split()[-3] != "0.0%") is bool(code), done.stdout  # of its lines
