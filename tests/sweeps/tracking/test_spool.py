"""The spool is read back as it was written, whatever was cut off, and holds no step twice."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from dualsweep.sweeps.tracking.spool import Record, Spool, read

ROOT = Path(__file__).parent.parent.parent.parent


def records_in(path: Path, offset: int = 0) -> list[Record]:
    return [record for record, _ in read(path, offset) if record is not None]


def points(path: Path) -> list[tuple[int, dict[str, float]]]:
    return [(record["step"], record["metrics"]) for record in records_in(path) if record["kind"] == "point"]


def test_records_come_back_in_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool" / "0001.jsonl")
    spool.begin()
    spool.params({"a.b": 1, "flag": True, "none": None, "list": [1, 2], "text": "x"})
    spool.tags({"t": "v"})
    assert spool.point(10, {"objective": 0.5}, time_ms=1000)
    spool.artifact(tmp_path / "recipe.yaml")
    spool.end("FINISHED")
    records = records_in(spool.path)
    assert [record["kind"] for record in records] == ["status", "params", "tags", "point", "artifact", "status"]
    assert records[1]["params"] == {"a.b": "1", "flag": "true", "none": "null", "list": "[1, 2]", "text": "x"}
    assert records[3] == {"kind": "point", "step": 10, "time_ms": 1000, "metrics": {"objective": 0.5}}
    assert spool.status == "FINISHED"


def test_steps_that_a_resumed_trial_repeats_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "0001.jsonl"
    first = Spool(path)
    for step in (10, 20, 30):
        assert first.point(step, {"x": step})
    resumed = Spool(path)
    assert [resumed.point(step, {"x": -1}) for step in (20, 30, 40)] == [False, False, True]
    assert points(path) == [(10, {"x": 10}), (20, {"x": 20}), (30, {"x": 30}), (40, {"x": -1})]


def test_a_final_point_may_stand_on_the_last_step_and_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "0001.jsonl"
    spool = Spool(path)
    spool.point(30, {"x": 1.0}, time_ms=5000)
    assert spool.point(30, {"x": 2.0}, time_ms=5000, final=True)
    again = Spool(path)
    assert not again.point(30, {"x": 2.0}, time_ms=9000, final=True)  # the same once more: a kill just after it
    assert again.point(30, {"x": 2.5}, time_ms=4000, final=True)  # another: the newest is what counts
    times = [record["time_ms"] for record in records_in(path)]
    assert times == [5000, 5001, 5002]
    assert not again.point(20, {"x": 0.0}, final=True)


def test_figures_that_are_not_finite_stand_apart(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "0001.jsonl")
    spool.point(1, {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 1.0})
    record = records_in(spool.path)[0]
    assert (record["metrics"], record["nonfinite"]) == ({"d": 1.0}, {"a": "nan", "b": "inf", "c": "-inf"})


def test_a_torn_last_line_is_passed_over_and_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "0001.jsonl"
    Spool(path).point(1, {"x": 1.0})
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    assert [end for _, end in read(path)] == [len(whole)]
    Spool(path).point(2, {"x": 2.0})
    assert points(path) == [(1, {"x": 1.0}), (2, {"x": 2.0})]


def test_a_broken_line_in_the_middle_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "0001.jsonl"
    spool = Spool(path)
    spool.point(1, {"x": 1.0})
    with path.open("ab") as file:
        file.write(b'{"kind": "poi\n[]\n')
    spool.point(2, {"x": 2.0})
    assert points(path) == [(1, {"x": 1.0}), (2, {"x": 2.0})]
    assert [Spool(path).point(step, {"x": -1.0}) for step in (2, 3)] == [False, True]


def test_where_the_newest_lines_are_broken_the_one_before_them_counts(tmp_path: Path) -> None:
    """Half a line that a full disk cut off, and the next one joined to it, as an earlier version left them; three of them."""
    path = tmp_path / "0001.jsonl"
    spool = Spool(path)
    for step in (1, 2, 3):
        spool.point(step, {"x": float(step)})
    spool.begin()
    line = path.read_bytes().splitlines(keepends=True)[2]
    with path.open("ab") as file:
        file.write((line[: len(line) // 2] + line) * 3)
    again = Spool(path)
    assert again.status == "RUNNING" and [again.point(step, {"x": 0.0}) for step in (2, 3, 4)] == [False, False, True]


def test_reading_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "0001.jsonl"
    spool = Spool(path)
    for step in range(5):
        spool.point(step, {"x": step})
    ends = [end for _, end in read(path)]
    assert ends[-1] == path.stat().st_size and len(ends) == 5
    assert [record["step"] for record in records_in(path, ends[1])] == [2, 3, 4] and records_in(path, ends[-1]) == []


def test_a_long_spool_is_opened_in_the_memory_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "0001.jsonl"
    record = {"kind": "point", "time_ms": 5, "metrics": {"objective": 0.5}}
    path.write_text("".join(f"{json.dumps({**record, 'step': step})}\n" for step in range(20_000)))
    tracemalloc.start()
    spool = Spool(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < path.stat().st_size / 4
    assert [spool.point(step, {"objective": 1.0}) for step in (19_999, 20_000)] == [False, True]


def test_a_disk_that_refuses_does_not_end_a_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(tmp_path / "0001.jsonl")
    spool.path.mkdir()
    assert spool.point(1, {"x": 1.0}) and spool.point(2, {"x": 1.0})
    assert len(caplog.records) == 1 and "the run goes on" in caplog.text


def test_what_the_disk_refuses_waits_for_room_whole_and_in_order(tmp_path: Path) -> None:
    """By the system's limit on a file's size, at which it takes a part of what is written, as a disk does that fills up."""
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from dualsweep.sweeps.tracking.spool import Spool\n"
        "spool = Spool(Path(sys.argv[1]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "for step in range(30): spool.point(step, {'x': step}, time_ms=step)\n"
        "print(spool.flush())\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)\n"
        "spool.point(30, {'x': 30.0})\n"
        "print(spool.flush())\n"
    )
    path = tmp_path / "0001.jsonl"
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, check=True)
    steps = [step for step, _ in points(path)]
    assert steps == [*range(31)]
    held, left = map(int, done.stdout.split())
    assert 5 < held < 25 and left == 0
    assert done.stderr.count("the run goes on") == 1 and "No space left" in done.stderr


def test_a_run_ends_in_a_status_mlflow_knows(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be FINISHED, FAILED or KILLED, but got 'done'; name one"):
        Spool(tmp_path / "0001.jsonl").end("done")
