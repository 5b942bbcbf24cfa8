"""Memory of a slot of trials, each process named, and what it grows by over a sweep of 40 trials, one at a time.

    python -m tests.benchmarks.bench_memory [--trials 40]

Proportional set sizes, looked at twice a second. A slot's processes are those that stay from trial to trial beside the workers:
its coordinator, Train's controller and its cleaner, and the trial of Tune's. Growth is the median of the last quarter of the
trials over that of the second quarter, workers among them. The demo's memory is in bench_demo.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import yaml

from tests.benchmarks.bench_trial_start import RECIPE, SWEEP
from tests.benchmarks.memory import proportional_set_sizes
from tests.benchmarks.rows import holds
from tests.isolated import prefix

#: By the beginning of their titles: what a slot keeps, and its workers. Others are Ray's own or the driver's.
BESIDE = (
    "ray::SlotCoordinator",
    "ray::TrainController",
    "ray::PlacementGroupCleaner",
    "ray::ResourceTrainable",
    "ray::TuneTrial",
)
WORKER = "ray::RayTrainWorker"
#: Required: GB of a slot beside its workers, and of the last trials' memory over that of the first.
SLOT, GROWTH = 0.9, 1.02


def kept(sizes: dict[str, int], titles: tuple[str, ...]) -> float:
    return float(sum(size for title, size in sizes.items() if title.startswith(titles)))


def looked_at(trials: int) -> list[tuple[int, dict[str, int]]]:
    """How many trials had ended, and bytes by process, over the time of a sweep."""
    with tempfile.TemporaryDirectory(prefix="dualsweep-bench-", ignore_cleanup_errors=True) as place:
        folder, looks = Path(place), list[tuple[int, dict[str, int]]]()
        (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
        (folder / "sweep.yaml").write_text(yaml.safe_dump({**SWEEP, "trials": trials}))
        command = [*(prefix() or []), sys.executable, "-m", "dualsweep", "sweep", "sweep.yaml"]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
        root = psutil.Process(process.pid)
        while process.poll() is None:
            looks.append((len(list(folder.glob("runs/seconds/records/*.json"))), proportional_set_sizes(root)))
            time.sleep(0.5)
        assert process.returncode == 0
    return looks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40)
    options = parser.parse_args()
    looks = looked_at(options.trials)
    quarter = options.trials // 4
    early, late = (
        [sizes for ended, sizes in looks if low <= ended < low + quarter and kept(sizes, (WORKER,))]
        for low in (quarter, options.trials - quarter)
    )
    for title in sorted({title for sizes in early + late for title in sizes}):
        first, last = (statistics.median(sizes.get(title, 0) for sizes in part) / 1e6 for part in (early, late))
        print(f"  {first:6.0f} MB early, {last:6.0f} MB late  {title}")
    beside = max(kept(sizes, BESIDE) for sizes in early + late)
    growth = [statistics.median(kept(sizes, (*BESIDE, WORKER)) for sizes in part) for part in (late, early)]
    rows = [
        holds("memory of a slot beside its workers, GB", beside / 1e9, f"<= {SLOT}"),
        holds(
            f"memory of a slot and its worker, the last of {options.trials} trials over the first",
            growth[0] / growth[1],
            f"<= {GROWTH}",
        ),
    ]
    sys.exit(not all(rows))


if __name__ == "__main__":
    main()
