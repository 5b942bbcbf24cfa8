"""Every case with a known answer through the public command: its recipe as a file, `dualsweep train`, the JSON against the truth.

    python -m tests.benchmarks.bench_known_answers [--only "AND" "OR" …] [--output runs/bench-known-answers]

The cases are those of tests/known/cases.py (docs/method.md), on CPU, one after the other, each with a local Ray cluster of its
own. `--only` takes those whose names begin so. Each may take 3 minutes, the start of Ray included. Without `--only` also the
tests of known answers that are too dear for `make test`, where a cheaper case stands for them, by pytest. Exits with 1 when a
figure misses.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from tests.isolated import prefix
from tests.known.cases import CASES

ROOT = Path(__file__).parent.parent.parent
#: A case may take so long, and is waited for so long.
SECONDS, LONGEST = 180.0, 900.0


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    required: str
    measured: str
    seconds: float
    ok: bool


def measured(name: str, folder: Path) -> Row:
    """Trains a case by the command, in `folder`, which is made anew."""
    case = CASES[name]()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(case.plain, sort_keys=False))
    command = [
        *(prefix() or []),
        sys.executable,
        "-m",
        "sweeps",
        "train",
        "recipe.yaml",
        "--output",
        "out",
        "--json",
        "result.json",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    started = time.monotonic()
    with (folder / "log").open("w") as log:
        try:
            ended = subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=log, timeout=LONGEST, check=False)
        except subprocess.TimeoutExpired:
            return Row(name, "an end", f"none, see {folder / 'log'}", LONGEST, ok=False)
    seconds = time.monotonic() - started
    if ended.returncode:
        return Row(name, "an answer", f"exit code {ended.returncode}, see {folder / 'log'}", seconds, ok=False)
    result = json.loads((folder / "result.json").read_text())
    if result["checkpoint"] is not None:
        result["checkpoint"] = str(folder / result["checkpoint"])
    verdicts = case.judge(result)
    fits = all(each.ok for each in verdicts) and seconds <= SECONDS
    return Row(name, "; ".join(each.required for each in verdicts), "; ".join(each.found for each in verdicts), seconds, fits)


def dear() -> int:
    """The exit code of the tests marked `dear`."""
    command = [sys.executable, "-m", "pytest", "-q", "--dear", "-m", "dear", "tests/known"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], help="beginnings of the names of cases")
    parser.add_argument("--output", type=Path, default=ROOT / "runs/bench-known-answers")
    options = parser.parse_args()
    names = [name for name in CASES if name.startswith(tuple(options.only))]
    if not names:
        parser.error(f"--only must begin a case's name, but got {options.only}; write one of {list(CASES)}")
    torch.set_num_threads(1)
    print("| case | required | measured | seconds | ok |\n|---|---|---|---|---|", flush=True)
    missed = 0
    for name in names:
        row = measured(name, (options.output / re.sub(r"\W+", "-", name)).absolute())
        missed += not row.ok
        shown = "yes" if row.ok else "NO"
        print(f"| {row.name} | {row.required} | {row.measured} | {row.seconds:.0f} | {shown} |", flush=True)
    print(f"\n{len(names) - missed} of {len(names)} cases as required, each in at most {SECONDS:.0f} s")
    sys.exit(missed > 0 or (options.only == [""] and dear() != 0))


if __name__ == "__main__":
    main()
