"""Every row of the table that docs/measured.md quotes: `make bench`, or some of them, `python -m tests.benchmarks step_cost ddp`.

Each benchmark runs in a process of its own, one after another, on a machine that does nothing else. Prints one table at the end,
and exits with 1 unless every row of it holds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.rows import ROWS
from tests.isolated import prefix

#: By name, with the arguments that it takes here.
BENCHMARKS: dict[str, list[str]] = {
    "step_cost": [],
    "loop": [],
    "digits": [],
    "quality": [],
    "alignment_cost": [],
    "coordinator": [],
    "ddp": [],
    "data_path": [],
    "trial_start": [],
    "ask": [],
    "demo": [],
    "memory": [],
    "logging": [],
    "front": [],
    "light": [],
    "growth": [],
}


def measured(name: str) -> tuple[list[dict[str, Any]], int]:
    """The rows that a benchmark made, and its exit code."""
    with tempfile.TemporaryDirectory(prefix="dualsweep-bench-") as folder:
        rows = Path(folder) / "rows"
        command = [*(prefix() or []), sys.executable, "-m", f"tests.benchmarks.bench_{name}", *BENCHMARKS[name]]
        done = subprocess.run(command, env={**os.environ, ROWS: str(rows)}, check=False)
        lines = rows.read_text().splitlines() if rows.exists() else []
    return [json.loads(line) for line in lines], done.returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], metavar="NAME", help=", ".join(BENCHMARKS))
    names, table, good = parser.parse_args().names or list(BENCHMARKS), list[str](), True
    started = time.monotonic()
    for name in names:
        print(f"== {name}", flush=True)
        rows, code = measured(name)
        good &= code == 0 and bool(rows) and all(row["kept"] for row in rows)
        if not rows or (code and all(row["kept"] for row in rows)):
            table.append(f"| {name} | {'ended with code ' + str(code) if code else 'told nothing'} | | no |")
        table += [
            f"| {name}: {row['what']} | {row['measured']} | {row['bound']} | {'yes' if row['kept'] else 'no'} |" for row in rows
        ]
    print("\n| row | measured | must be | holds |\n|---|---|---|---|")
    print("\n".join(table))
    print(f"\n{(time.monotonic() - started) / 60:.0f} minutes; {'every row holds' if good else 'not every row holds'}")
    sys.exit(not good)


if __name__ == "__main__":
    main()
