"""`make faults`: kills a chosen process of a running sweep at a random moment, again and again, and prints what survived.

Results are kept in a JSON-lines file, one line a sweep, and the same command goes on where it was cut.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.faults.disturbing import TOO_LATE, Row, disturbed, undisturbed
from tests.faults.problem import Outcome
from tests.faults.spoiling import mountable
from tests.faults.victims import DATABASE, FULL_DISK, KINDS
from tests.postgresql import installed

HOSTINGS = ("warm", "fresh")


def main() -> int:
    """Runs what the file does not have yet; 0 where all survived, with nothing lost, doubled or left."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--hosting", nargs="+", choices=HOSTINGS, default=HOSTINGS)
    parser.add_argument("--workers", nargs="+", type=int, default=(1,), help="of each trial: 1, 2, or both (1)")
    parser.add_argument("--runs", type=int, default=3, help="of each kind and hosting (3)")
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--results", type=Path, default=Path("faults.jsonl"), help="what is kept (faults.jsonl)")
    given = parser.parse_args()
    kinds = [kind for kind in given.kinds if possible(kind)]
    for hosting, workers in itertools.product(given.hosting, given.workers):
        for number, kind in itertools.product(range(given.seed, given.seed + given.runs), kinds):
            one_run(given.results, hosting, workers, kind, number)
    rows = [
        row for row in kept(given.results) if row.kind in kinds and row.hosting in given.hosting and row.workers in given.workers
    ]
    print(table(rows))
    return 0 if all(row.whole for row in rows) else 1


def possible(kind: str) -> bool:
    """Whether this machine has what a kind takes; what it lacks is said."""
    lacks = {
        DATABASE: "" if installed() else "PostgreSQL is not installed",
        FULL_DISK: "" if mountable() else "no file system can be mounted here",
    }.get(kind)
    if lacks:
        print(f"{kind}: not tried: {lacks}")
    return not lacks


def one_run(results: Path, hosting: str, workers: int, kind: str, seed: int) -> None:
    """Runs one where the file has none such, and adds it."""
    if any((row.hosting, row.workers, row.kind, row.seed) == (hosting, workers, kind, seed) for row in kept(results)):
        return
    reference, lasts = reference_of(results, hosting, workers)
    for part in (1.0, 0.5, 0.25):  # where the reference was slower, the moment may come after the end
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            row = disturbed(Path(folder) / "sweep", hosting, workers, kind, seed, reference, part * lasts)
            if not row.whole:
                failed = results.with_suffix(f".{hosting}-{workers}-{kind}-{seed}.txt")
                failed.write_text((Path(folder) / "sweep/output.txt").read_text())
        if row.why != TOO_LATE:
            break
    add(results, asdict(row))
    print(f"{row.hosting} {row.workers} {row.kind} {row.seed}: {'survived' if row.whole else f'LOST: {row}'}", flush=True)


def reference_of(results: Path, hosting: str, workers: int) -> tuple[Outcome, float]:
    """The undisturbed sweep's outcome and seconds, kept as well."""
    for line in lines(results):
        if (line.get("reference"), line.get("workers", 1)) == (hosting, workers):
            return Outcome(**line["outcome"]), line["lasts"]
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        outcome, lasts = undisturbed(Path(folder) / "sweep", hosting, workers)
    add(results, {"reference": hosting, "workers": workers, "outcome": outcome.to_json(), "lasts": lasts})
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
    """A line for each kind, hosting and number of workers, and one for all."""
    head = ("kind", "hosting", "workers", "runs", "survived", "lost", "doubled", "left", "seconds to recover")
    groups: dict[tuple[str, ...], list[Row]] = {key: [] for key in (*dict.fromkeys(map(_group, rows)), ("all", "", ""))}
    for row in rows:
        groups[_group(row)].append(row)
        groups["all", "", ""].append(row)
    lines = [head, *((*key, *_counts(group)) for key, group in groups.items())]
    return "\n".join("{:<20}{:<9}{:<9}{:>5}{:>10}{:>6}{:>9}{:>6}{:>20}".format(*line) for line in lines)


def _group(row: Row) -> tuple[str, str, str]:
    return row.kind, row.hosting, str(row.workers)


def _counts(group: Sequence[Row]) -> tuple[object, ...]:
    seconds = [row.recovery for row in group if row.survived]
    between = f"{min(seconds):.1f} to {max(seconds):.1f}" if seconds else "-"
    survived, lost, doubled, left = (sum(getattr(row, name) for row in group) for name in ("survived", "lost", "doubled", "left"))
    return len(group), survived, lost, doubled, left, between


if __name__ == "__main__":
    sys.exit(main())
