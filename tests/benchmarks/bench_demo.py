"""The demo as a user runs it: wall time, trials, and peak memory (sum of proportional set sizes of all its processes).

python -m tests.benchmarks.bench_demo [--output runs/bench-demo]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.benchmarks.common import holds
from tests.isolated import prefix

ROOT = Path(__file__).parent.parent.parent


def proportional_set_sizes(root: psutil.Process) -> int:
    """Bytes, over a process and all its descendants; shared pages are counted once."""
    total = 0
    for process in [root, *root.children(recursive=True)]:
        try:
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended meanwhile
        total += sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "runs/bench-demo")
    options = parser.parse_args()
    shutil.rmtree(options.output, ignore_errors=True)
    options.output.mkdir(parents=True)
    store = f"mlflow.tracking_uri=sqlite:///{options.output}/mlflow.db"
    results = options.output / "results.json"
    command = [*(prefix() or []), sys.executable, "-m", "dualsweep", "sweep", "sweeps/digits.yaml", "--set", store]
    command += ["--output", str(options.output / "sweep"), "--json", str(results)]
    started, peak = time.monotonic(), 0
    process = subprocess.Popen(command, cwd=ROOT)
    watched = psutil.Process(process.pid)
    while process.poll() is None:
        peak = max(peak, proportional_set_sizes(watched))
        time.sleep(1)
    seconds = time.monotonic() - started
    plain = json.loads(results.read_text())
    ended = sum(trial["status"] not in ("failed", "diverged") for trial in plain["trials"])
    kept = [
        holds("trials that came to an end of their own", ended, ">= 12"),
        holds("minutes", seconds / 60, "<= 8"),
        holds("peak memory, GB, the sum of proportional set sizes", peak / 1e9, "<= 5"),
    ]
    sys.exit(process.returncode or not all(kept))


if __name__ == "__main__":
    main()
