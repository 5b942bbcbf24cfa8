"""The demo beside the same trials by hand (`demo_by_hand.py`), after set-up: trials an hour, and peak memory by process.

    python -m tests.benchmarks.bench_demo [--rounds 3]

Both sides run from the command to its end, in turn; trials that failed count as not done. `less evaluated` is the demo with no
more evaluation than the other side has. Prints each side's floor, its primal steps alone on two cores. Memory is the sum of
proportional set sizes over all processes, looked at once a second. Exits with 1 where a row fails, or isn't measured: where the
ratio's 95 % interval is not within 5 %.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.benchmarks.memory import proportional_set_sizes
from tests.benchmarks.rows import RUNS, Interval, holds
from tests.isolated import prefix

ROOT = Path(__file__).parent.parent.parent
TRIALS, STEPS, CORES = 12, 400, 2
LESS = ("--set", "evaluation.metrics=[class_shares]", "--set", "evaluation.grid=64")


def watched(command: list[str], folder: Path) -> tuple[float, dict[str, int]]:
    """Seconds of a command, and what its processes held when all together held most."""
    started, peak = time.monotonic(), dict[str, int]()
    process = subprocess.Popen([*(prefix() or []), *command], cwd=ROOT, stdout=(folder / "output").open("w"))
    root = psutil.Process(process.pid)
    while process.poll() is None:
        sizes = proportional_set_sizes(root)
        peak = max(peak, sizes, key=lambda held: sum(held.values()))
        time.sleep(1)
    assert process.returncode in (0, 3), (folder / "output").read_text()
    return time.monotonic() - started, peak


def ours(folder: Path, *more: str) -> tuple[float, dict[str, int]]:
    """Seconds a trial that came to an end of its own, and memory."""
    command = [sys.executable, "-m", "dualsweep", "sweep", "sweeps/digits.yaml", "--output", str(folder / "sweep")]
    command += ["--set", f"mlflow.tracking_uri=sqlite:///{folder}/mlflow.db", "--json", str(folder / "results.json"), *more]
    seconds, peak = watched(command, folder)
    plain = json.loads((folder / "results.json").read_text())
    done = sum(trial["status"] not in ("failed", "diverged") for trial in plain["trials"])
    return seconds / done, peak


def by_hand(folder: Path) -> tuple[float, dict[str, int]]:
    """The same of the other side."""
    seconds, peak = watched([sys.executable, "-m", "tests.benchmarks.demo_by_hand", str(folder)], folder)
    return seconds / TRIALS, peak


def steps(side: str) -> None:
    """Half of all trials' primal steps in this process; prints their seconds."""
    import torch

    from tests.benchmarks import demo_by_hand
    from tests.benchmarks.common import digits, loop_of

    torch.set_num_threads(1)
    loops = [loop_of(digits()) for _ in range(TRIALS // CORES)] if side == "ours" else []
    started = time.monotonic()
    for number in range(TRIALS // CORES):
        if side == "ours":
            for _ in range(STEPS):
                loops[number].advance()
        else:
            demo_by_hand.trained({"step_size": 0.1, "budget": 0.0})
    print(time.monotonic() - started)


def floor(side: str) -> float:
    """Seconds of all trials' primal steps on two cores."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_demo", "--steps-of", side]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(CORES)]
    return max(float(process.communicate()[0]) for process in running)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps-of", choices=["ours", "by hand"])
    options = parser.parse_args()
    if options.steps_of:
        steps(options.steps_of)
        return
    for side in ("ours", "by hand"):
        print(f"floor of {side}: {floor(side):.0f} s of primal steps alone", flush=True)
    more, less, peaks = list[float](), list[float](), list[dict[str, int]]()
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="dualsweep-bench-", ignore_cleanup_errors=True) as place:
            folders = [Path(place) / name for name in ("ours", "less", "by-hand")]
            for folder in folders:
                folder.mkdir()
            (whole, peak), (short, _), (hand, _) = ours(folders[0]), ours(folders[1], *LESS), by_hand(folders[2])
        print(f"seconds a trial: ours {whole:.1f}, less evaluated {short:.1f}, by hand {hand:.1f}", flush=True)
        more.append(hand / whole)
        less.append(hand / short)
        peaks.append(peak)
    peak = max(peaks, key=lambda held: sum(held.values()))
    for name, size in sorted(peak.items(), key=lambda item: -item[1]):
        print(f"  {size / 1e6:6.0f} MB  {name}")
    kept = [
        Interval.of(more).holds("trials an hour over those by hand, with our evaluation and review", ">= 1.0", RUNS),
        Interval.of(less).holds("trials an hour over those by hand, with no more evaluation", ">= 1.15", RUNS),
        holds("peak memory, GB, the sum of proportional set sizes", sum(peak.values()) / 1e9, "<= 4.0"),
    ]
    sys.exit(not all(kept))


if __name__ == "__main__":
    main()
