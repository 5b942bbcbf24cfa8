"""Lines and branches that the tests reach, by room: `make coverage`.

    python -m tests.covered [.coverage]

prints the table, with the files of the trainer's core that have the most branches left, and ends with 1 where the core is below
its least. Files are known by their real paths, so that `dualsweep/trainer/rng.py`, as it is imported, is `trainer/rng.py`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from coverage import Coverage

ROOT = Path(__file__).parent.parent
CORE, SHELL = "trainer (core)", "trainer/ray_shell"
#: The least share of the core's branches.
LEAST = 0.90
SHOWN = 12


class Reached(NamedTuple):
    """Statements and branches, and how many of them were reached."""

    lines: int = 0
    lines_reached: int = 0
    branches: int = 0
    branches_reached: int = 0

    def plus(self, other: Reached) -> Reached:
        return Reached(*(mine + more for mine, more in zip(self, other, strict=True)))

    @property
    def of_branches(self) -> float:
        """The share of branches, 1 where there is none."""
        return self.branches_reached / self.branches if self.branches else 1.0

    def __str__(self) -> str:
        of_lines = self.lines_reached / self.lines if self.lines else 1.0
        return f"{self.lines:7d} {of_lines:7.1%} {self.branches:9d} {self.of_branches:8.1%}"


def room_of(file: str) -> str:
    """A file's room, by its path from the root."""
    room = Path(file).parts[0]
    if room == "trainer":
        return SHELL if file.startswith(SHELL) else CORE
    return room


def by_file(report: Mapping[str, Any]) -> dict[str, Reached]:
    """The files of coverage.py's JSON report, by their paths from the root."""
    reached = {}
    for file, about in report["files"].items():
        counts = about["summary"]
        reached[(ROOT / file).resolve().relative_to(ROOT).as_posix()] = Reached(
            counts["num_statements"], counts["covered_lines"], counts["num_branches"], counts["covered_branches"]
        )
    return reached


def by_room(files: Mapping[str, Reached]) -> dict[str, Reached]:
    rooms: dict[str, Reached] = {}
    for file, reached in sorted(files.items()):
        rooms[room_of(file)] = rooms.get(room_of(file), Reached()).plus(reached)
    return rooms


def least_reached(files: Mapping[str, Reached], room: str) -> list[str]:
    """The files of a room with the most branches that no test reaches."""
    own = [(reached.branches - reached.branches_reached, file) for file, reached in files.items() if room_of(file) == room]
    return [f"{left:4d} branches left in {file}" for left, file in sorted(own, key=lambda each: (-each[0], each[1])) if left][
        :SHOWN
    ]


def main(data: str) -> int:
    measured = Coverage(data_file=data)
    measured.load()
    with tempfile.TemporaryDirectory() as folder:
        measured.json_report(outfile=f"{folder}/report.json")
        files = by_file(json.loads(Path(folder, "report.json").read_text()))
    rooms = by_room(files)
    print(f"{'room':20} {'lines':>7} {'reached':>7} {'branches':>9} {'reached':>8}")
    for room, reached in rooms.items():
        print(f"{room:20} {reached}")
    print("", *least_reached(files, CORE), sep="\n")
    if (core := rooms.get(CORE, Reached()).of_branches) >= LEAST:
        return 0
    print(f"\nThe tests must reach at least {LEAST:.0%} of the core's branches, but reach {core:.1%}.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(*(sys.argv[1:] or [".coverage"])))
