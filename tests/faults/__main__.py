"""`make faults`: kills a chosen process of a running sweep at a random moment, again and again, and prints what survived.

Results are kept in a JSON-lines file, one line a sweep, and the same command goes on where it was cut.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.faults.disturbing import Row, disturbed, undisturbed
from tests.faults.problem import Outcome
from tests.faults.victims import KINDS

HOSTINGS = ("warm", "fresh")


def main() -> int:
    """Runs what the file does not have yet; 0 where all survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--hosting", nargs="+", choices=HOSTINGS, default=HOSTINGS)
    parser.add_argument("--runs", type=int, default=3, help="of each kind and hosting (3)")
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--results", type=Path, default=Path("faults.jsonl"), help="what is kept (faults.jsonl)")
    given = parser.parse_args()
    for hosting in given.hosting:
        for number in range(given.seed, given.seed + given.runs):
            for kind in given.kinds:
                one_run(given.results, hosting, kind, number)
    rows = [row for row in kept(given.results) if row.kind in given.kinds and row.hosting in given.hosting]
    print(table(rows))
    return 0 if all(row.survived for row in rows) else 1


def one_run(results: Path, hosting: str, kind: str, seed: int) -> None:
    """Runs one where the file has none such, and adds it."""
    if any((row.hosting, row.kind, row.seed) == (hosting, kind, seed) for row in kept(results)):
        return
    reference, lasts = reference_of(results, hosting)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        row = disturbed(Path(folder) / "sweep", hosting, kind, seed, reference, lasts)
        if not row.survived:
            failed = results.with_suffix(f".{hosting}-{kind}-{seed}.txt")
            failed.write_text((Path(folder) / "sweep/output.txt").read_text())
    add(results, asdict(row))
    print(f"{row.hosting} {row.kind} {row.seed}: {'survived' if row.survived else 'LOST: ' + row.why}", flush=True)


def reference_of(results: Path, hosting: str) -> tuple[Outcome, float]:
    """The undisturbed sweep's outcome and seconds, kept as well."""
    for line in lines(results):
        if line.get("reference") == hosting:
            return Outcome(**line["outcome"]), line["lasts"]
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        outcome, lasts = undisturbed(Path(folder) / "sweep", hosting)
    add(results, {"reference": hosting, "outcome": outcome.to_json(), "lasts": lasts})
    return outcome, lasts


def lines(results: Path) -> list[dict[str, Any]]:
    """The whole lines of the file: the last one may have been cut."""
    whole = []
    for line in results.read_text().splitlines() if results.exists() else []:
        try:
            whole.append(json.loads(line))
        except ValueError:
            continue
    return whole


def kept(results: Path) -> list[Row]:
    return [Row(**line) for line in lines(results) if "kind" in line]


def add(results: Path, line: dict[str, object]) -> None:
    with results.open("a+") as file:
        file.seek(max(0, file.tell() - 1))
        cut = file.tell() and file.read(1) != "\n"
        file.write(("\n" if cut else "") + json.dumps(line) + "\n")


def table(rows: Sequence[Row]) -> str:
    """A line for each kind and hosting."""
    said = [
        f"{'kind':<16}{'hosting':<9}{'runs':>5}{'survived':>10}{'lost':>6}{'doubled':>9}{'left':>6}{'seconds to recover':>20}"
    ]
    for kind, hosting in dict.fromkeys((row.kind, row.hosting) for row in rows):
        group = [row for row in rows if (row.kind, row.hosting) == (kind, hosting)]
        seconds = sorted(row.recovery for row in group)
        between = f"{seconds[0]:.1f} to {seconds[-1]:.1f}"
        counts = (
            f"{sum(row.survived for row in group):>10}{sum(row.lost for row in group):>6}{sum(row.doubled for row in group):>9}"
        )
        said.append(f"{kind:<16}{hosting:<9}{len(group):>5}{counts}{sum(row.left for row in group):>6}{between:>20}")
    return "\n".join(said)


if __name__ == "__main__":
    sys.exit(main())
