"""Metrics to MLflow: points a second by the spool, by single calls and by full batches of MLflow's own, and what training pays.

    python -m tests.benchmarks.bench_logging [--points 100000] [--rounds 5]

Into SQLite stores, in rounds that take turns: our delivery of a share of the points from a spool of records as the demo's,
`MlflowClient.log_batch` of as many in requests of 1,000, and `MlflowClient.log_metric` of a hundredth. The processor's time of
one record, spooled and delivered, is held against that of the demo's primal steps between two records. Last, a spool of ten
times the points, a record each, is opened again, in a process of its own, for its seconds and its memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from mlflow import MlflowClient
from mlflow.entities import Metric

from dualsweep.sweeps.tracking.delivery import Delivery
from dualsweep.sweeps.tracking.ledger import Ledger
from dualsweep.sweeps.tracking.spool import FOLDER, Spool
from tests.benchmarks.common import digits, interleaved, loop_of
from tests.benchmarks.rows import RUNS, Interval, holds
from tests.stores import empty_store

#: Required: points a second of those of single calls, and of those of full batches; processor's time, of training's; MB.
CALLS, BATCHES, TRAINING, MEMORY = 20, 0.9, 0.01, 100
#: Metrics of one record of the demo, and primal steps from one to the next.
_METRICS, _EVERY = 20, 10
_OPEN = """
import re, sys, time
from pathlib import Path
from dualsweep.sweeps.tracking.spool import Spool
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])  # rusage's is the parent's too
before, started = peak(), time.perf_counter()
Spool(Path(sys.argv[1]))
print(time.perf_counter() - started, (peak() - before) / 1000)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    share = options.points // options.rounds
    cases: Mapping[str, Callable[[Path, int], float]] = {"delivery": delivered, "batches": in_batches, "calls": by_calls}
    rates: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(4 * options.rounds + 1):  # the first is for warming up
        if turn > options.rounds and all(_known(rates, name) for name in ("calls", "batches")):
            break
        for name in [*cases][turn % 3 :] + [*cases][: turn % 3]:
            with tempfile.TemporaryDirectory() as folder:
                count = share // 100 if name == "calls" else share
                rates[name].append(count / cases[name](Path(folder), count))
    for name, each in rates.items():
        print(f"{name:>10}: {statistics.median(each[1:]):8.0f} points a second")
    kept = [
        Interval.over(rates["delivery"][1:], rates[name][1:]).holds(f"points a second, of {told}", f">= {bound}", RUNS)
        for name, told, bound in (("calls", "single calls'", CALLS), ("batches", "full batches'", BATCHES))
    ]
    kept.append(holds("processor's time of spool and delivery, of training's", _share_of_training(), f"<= {TRAINING}"))
    kept.append(holds(f"MB more to open a spool of {10 * options.points} points", _opened(10 * options.points), f"<= {MEMORY}"))
    sys.exit(not all(kept))


def _known(rates: Mapping[str, list[float]], peer: str) -> bool:
    return Interval.over(rates["delivery"][1:], rates[peer][1:]).half_width <= RUNS


def _names(count: int) -> list[str]:
    return [f"value/{number}" for number in range(count)]


def _filled(folder: Path, points: int) -> None:
    spool = Spool(folder / FOLDER / "sweep.jsonl")
    for step in range(points // _METRICS):
        spool.point(step, dict.fromkeys(_names(_METRICS), step + 0.1234567))


def delivered(folder: Path, points: int) -> float:
    """Seconds from spooled records to a store that has them all."""
    uri = empty_store(folder)
    _filled(folder, points)
    delivery = Delivery(uri, Ledger.open(folder, uri, "faces"), folder / FOLDER, print)
    started = time.perf_counter()
    delivery.deliver()
    seconds = time.perf_counter() - started
    assert delivery.has_all()
    return seconds


def in_batches(folder: Path, points: int) -> float:
    """Seconds of MLflow's own requests, as large as it takes them."""
    client, run = _run(folder)
    metrics = [Metric(_names(_METRICS)[point % _METRICS], point + 0.1234567, point, point // _METRICS) for point in range(points)]
    started = time.perf_counter()
    for begin in range(0, points, 1000):
        client.log_batch(run, metrics=metrics[begin : begin + 1000])
    return time.perf_counter() - started


def by_calls(folder: Path, points: int) -> float:
    """Seconds of MLflow's own calls, one a point."""
    client, run = _run(folder)
    started = time.perf_counter()
    for point in range(points):
        client.log_metric(run, _names(_METRICS)[point % _METRICS], point + 0.1234567, step=point // _METRICS)
    return time.perf_counter() - started


def _run(folder: Path) -> tuple[MlflowClient, str]:
    client = MlflowClient(empty_store(folder))
    return client, str(client.create_run(client.create_experiment("faces", folder.as_uri())).info.run_id)


def _share_of_training() -> float:
    """The processor's time of a record, spooled and delivered, of that of the primal steps from one record to the next."""
    records = 500
    with tempfile.TemporaryDirectory() as folder:
        uri, place = empty_store(Path(folder)), Path(folder)
        started = time.process_time()
        _filled(place, records * _METRICS)
        Delivery(uri, Ledger.open(place, uri, "faces"), place / FOLDER, print).deliver()
        record = (time.process_time() - started) / records
    step = statistics.median(interleaved({"step": loop_of(digits()).advance}, 5, 20)["step"])
    print(f"    record: {1000 * record:8.2f} ms; {_EVERY} primal steps: {1000 * _EVERY * step:.1f} ms")
    return record / (_EVERY * step)


def _opened(points: int) -> float:
    """MB that opening a spool again takes beyond the process that does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "0000.jsonl"
        record = {"kind": "point", "time_ms": 5, "metrics": {"objective": 0.1234567}}
        with path.open("w") as file:
            file.writelines(f"{json.dumps({**record, 'step': step})}\n" for step in range(points))
        done = subprocess.run([sys.executable, "-c", _OPEN, str(path)], check=True, capture_output=True, text=True)
    seconds, memory = map(float, done.stdout.split())
    print(f"   opening: {seconds:8.1f} s for {points} points")
    return memory


if __name__ == "__main__":
    main()
