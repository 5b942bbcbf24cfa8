"""Loader processes that read ahead: what is taken is what is fetched, whatever the steps take; they end with whoever had them."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dualsweep.trainer.data import examples as examples_module
from dualsweep.trainer.data import loaders
from dualsweep.trainer.data.examples import Examples, Integers, OnDemand, Origin, from_reader
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.data.load import load
from dualsweep.trainer.data.read_ahead import CAPACITY, ReadAhead
from dualsweep.trainer.data.scaling import scaled
from dualsweep.trainer.errors import TrainingError
from tests.trainer.data.conftest import data_of

CPU = torch.device("cpu")
SIDE = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 JPEGs of two sizes."""
    made = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(40):
        pixels = rng.integers(0, 256, (20, 24 + number % 2, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(made / f"{number:02}.jpg")
    return made


@pytest.fixture(autouse=True)
def on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples_module, "IN_MEMORY_BYTES", 0)


def rows(part: int, numbers: range) -> Integers:
    """Any function of part and number."""
    return np.array([(7 * number + 13 * part) % 40 for number in numbers], dtype=np.int64)


@contextmanager
def ahead(examples: Examples, first: dict[int, int] | None = None, **options: int) -> Iterator[ReadAhead]:
    assert isinstance(examples, OnDemand)
    options = {"stride": 1, "count": 2, "capacity": CAPACITY} | options
    reading = ReadAhead(examples, rows, first or {0: 0, 1: 0}, **options)
    try:
        yield reading
    finally:
        reading.close()


def taken(
    reading: ReadAhead, first: list[int], counts: Sequence[int], stride: int = 1, guessed: bool = True
) -> tuple[torch.Tensor, Integers]:
    """The next `counts` draws of each part, in an order that mixes them, and their rows; `first` moves on.

    `guessed`: it is said to the reading that the same counts in the same order come next.
    """
    numbers = [np.arange(start, start + stride * count, stride) for start, count in zip(first, counts, strict=True)]
    drawn = np.concatenate([rows(part, range(each[0], each[-1] + 1, stride)) for part, each in enumerate(numbers) if len(each)])
    first[:] = [start + stride * count for start, count in zip(first, counts, strict=True)]
    order = np.random.default_rng(len(drawn)).permutation(len(drawn))
    parts = np.repeat(np.arange(len(counts)), counts)
    whole = np.concatenate(numbers)
    step = parts[order], whole[order] + stride * np.array(counts)[parts[order]]
    return reading.take(parts[order], whole[order], CPU, step if guessed else None), drawn[order]


def pids_of(reading: ReadAhead) -> list[int]:
    return [each.pid for each in reading.loaders.processes]


def alive(pids: Sequence[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text()]


def ended(pids: Sequence[int], seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while alive(pids) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pids)


#: What steps take of two parts: steady, jumping from one to the other, one alone, more than all that is held.
HISTORIES = {
    "steady": [(6, 2)] * 8,
    "jumping": [(8, 0)] * 3 + [(0, 8)] * 3 + [(8, 1), (1, 8)] * 2,
    "one alone": [(0, 4)] * 6,
    "large": [(30, 25), (1, 0), (40, 1)],
}


@pytest.mark.parametrize("guessed", [True, False])
@pytest.mark.parametrize("slots", [1, 3, 400])
@pytest.mark.parametrize("history", HISTORIES)
def test_what_is_taken_is_what_is_fetched_to_the_bit(folder: Path, history: str, slots: int, guessed: bool) -> None:
    examples = load(data_of(folder=str(folder), size=SIDE))
    first = [3, 1000]
    with ahead(examples, {0: 3, 1: 1000}, capacity=slots * 3 * SIDE * SIDE) as reading:
        assert len(reading.loaders.slots) == slots
        for counts in HISTORIES[history]:
            found, drawn = taken(reading, first, counts, guessed=guessed)
            assert torch.equal(found, examples.fetch(drawn)) and found.is_contiguous()


def test_a_batch_that_was_guessed_is_there_when_it_is_asked_for(folder: Path) -> None:
    """Steps that take the same: from the second on each finds its batch put together, unlike one that takes something else."""
    first, put = [0, 0], []
    with ahead(load(data_of(folder=str(folder), size=SIDE))) as reading:
        together = reading._put_together
        reading._put_together = lambda *given: put.append(1) or together(*given)  # type: ignore[method-assign, func-returns-value]
        unguessed = []
        for counts in [(6, 2)] * 4 + [(5, 3)] * 3:
            taken(reading, first, counts)
            unguessed.append(len(put))
    assert unguessed == [1, 1, 1, 1, 2, 2, 2]


def test_a_worker_of_several_takes_every_other_draw(folder: Path) -> None:
    examples, first = load(data_of(folder=str(folder), size=SIDE, grey=True)), [1, 0]
    with ahead(examples, {0: 1, 1: 0}, stride=3) as reading:
        for counts in HISTORIES["jumping"]:
            found, drawn = taken(reading, first, counts, stride=3)
            assert torch.equal(found, examples.fetch(drawn))


def test_draws_out_of_order_are_refused(folder: Path) -> None:
    message = r"draws of part 0 must be taken in order, range\(0, 2\) next, but got \[1, 2\]"
    with ahead(load(data_of(folder=str(folder), size=SIDE))) as reading, pytest.raises(ValueError, match=message):
        reading.take(np.array([0, 0]), np.array([1, 2]), CPU)


def test_the_next_steps_lie_ready_within_the_memory_that_is_given(folder: Path) -> None:
    """After a step the next four are read ahead, each part's share as large as of the step; or as many as there is room for."""
    examples = load(data_of(folder=str(folder), size=SIDE))
    for slots, held in ((400, [24, 8]), (16, [12, 4])):
        first = [0, 0]
        with ahead(examples, capacity=slots * 3 * SIDE * SIDE) as reading:
            for _ in range(3):
                taken(reading, first, (6, 2))
            assert [len(queue.slots) for queue in reading._queues.values()] == held
            assert reading.loaders.slots.nbytes <= slots * 3 * SIDE * SIDE


def test_room_goes_to_the_part_that_steps_now_take(folder: Path) -> None:
    first = [0, 0]
    with ahead(load(data_of(folder=str(folder), size=SIDE)), capacity=16 * 3 * SIDE * SIDE) as reading:
        for counts in [(8, 0)] * 4 + [(0, 8)] * 12:
            taken(reading, first, counts)
        before, now = (len(queue.slots) for queue in reading._queues.values())
        assert before <= 1 and now >= 15


def test_a_file_that_cannot_be_read_is_named_when_it_is_drawn_and_not_before(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    examples, broken = load(data_of(folder=str(tmp_path), size=SIDE)), tmp_path / "21.jpg"  # draw 3 of part 0
    broken.write_bytes(broken.read_bytes()[:300])
    first = [0, 0]
    with ahead(examples) as reading:
        taken(reading, first, (3, 0))
        with pytest.raises(BadDataError) as read_ahead:
            taken(reading, first, (1, 0))
    with pytest.raises(BadDataError) as fetched:
        examples.fetch(np.array([21]))
    assert str(read_ahead.value) == str(fetched.value) and f"in file {broken}; fix or remove that file" in str(fetched.value)


def test_an_image_of_another_size_is_named(tmp_path: Path) -> None:
    for number in range(40):
        Image.new("L", (8, 8 if number != 20 else 9)).save(tmp_path / f"{number:02}.png")
    message = r"must hold examples of one shape, but got 1x9x8 after 1x8x8 in file .*20\.png"
    with ahead(load(data_of(folder=str(tmp_path), grey=True))) as reading, pytest.raises(BadDataError, match=message):
        taken(reading, [0, 0], (40, 0))


class Numbers:
    """What a user's data set reads: floating-point numbers, NaN at row 20."""

    def __call__(self, row: int) -> np.ndarray:
        return np.full((2, 3), np.nan if row == 20 else row / 100, dtype=np.float32)


def test_numbers_that_are_no_pixels_are_kept_and_checked() -> None:
    origin = Origin(("data", "call"), lambda row: f"item {row}")
    examples = from_reader(lambda row: torch.from_numpy(Numbers()(row)), 40, origin, reader=Numbers())
    first = [0, 0]
    with ahead(examples) as reading:
        found, drawn = taken(reading, first, (2, 1))
        assert torch.equal(found, examples.fetch(drawn)) and found.dtype == torch.float32
        with pytest.raises(BadDataError, match=r"must hold finite numbers, but got nan .* in item 20"):
            taken(reading, first, (38, 0))


def test_what_cannot_be_pickled_is_refused_with_the_way_out() -> None:
    origin = Origin(("data", "call"), lambda row: f"item {row}")
    x = np.zeros((2, 3), dtype=np.float32)
    examples = from_reader(lambda row: torch.from_numpy(x), 40, origin, reader=lambda row: x)
    with pytest.raises(TrainingError, match=r"must be picklable, but got .*; write resources\.loaders: 0"), ahead(examples):
        pass


def test_half_a_range_is_warned_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(40):
        Image.new("L", (8, 8), 200 + number % 2).save(tmp_path / f"{number:02}.png")
    first = [0, 0]
    with ahead(load(data_of(folder=str(tmp_path), grey=True))) as reading:
        for _ in range(3):
            taken(reading, first, (20, 0))
    assert [("none has a number below 0" in each.message) for each in caplog.records] == [True]


def test_loaders_are_light_and_have_one_thread_each(folder: Path) -> None:
    with ahead(load(data_of(folder=str(folder), size=SIDE)), count=3) as reading:
        pids, end = pids_of(reading), time.monotonic() + 20
        while not all("_imaging" in libraries(pid) for pid in pids) and time.monotonic() < end:
            time.sleep(0.05)
        taken(reading, [0, 0], (8, 0))
        threads = [len(list(Path(f"/proc/{pid}/task").iterdir())) for pid in pids]
        assert threads == [1, 1, 1] and len(set(pids)) == 3
        assert all("libtorch" not in libraries(pid) and "_imaging" in libraries(pid) for pid in pids)


def libraries(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def test_loaders_end_when_they_are_closed_or_forgotten(folder: Path) -> None:
    examples = load(data_of(folder=str(folder), size=SIDE))
    with ahead(examples) as reading:
        closed = pids_of(reading)
        assert len(alive(closed)) == 2
    assert not alive(closed)
    assert isinstance(examples, OnDemand)
    forgotten = ReadAhead(examples, rows, {0: 0}, 1, 2, CAPACITY)
    pids = pids_of(forgotten)
    del forgotten
    assert len(pids) == 2 and not alive(pids)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_loaders_that_are_killed_are_started_again_and_nothing_changes(
    folder: Path, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Killed at any moment: before a step, while the next ones are read, all or one of them."""
    examples, first = load(data_of(folder=str(folder), size=SIDE)), [0, 0]
    with ahead(examples, count=count, capacity=20 * 3 * SIDE * SIDE) as reading:
        for step, counts in enumerate([(6, 2), (0, 8), (30, 25)] * 4):
            if step % 4 == 1:
                before = pids_of(reading)
                for pid in before[: 1 + step // 4]:
                    os.kill(pid, signal.SIGKILL)
            found, drawn = taken(reading, first, counts)
            assert torch.equal(found, examples.fetch(drawn))
        assert len(alive(pids_of(reading))) == count and not alive(before)
    assert len(caplog.records) == 3 and "ended with -9; all are started again" in caplog.text


class Deadly(Numbers):
    """Ends its process at row 21, draw 3 of part 0."""

    def __call__(self, row: int) -> np.ndarray:
        if row == 21:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(row)


@pytest.mark.dear  # that one is started again is seen above
def test_loaders_that_end_again_and_again_end_the_training_with_what_to_do() -> None:
    origin = Origin(("data", "call"), lambda row: f"item {row}")
    examples = from_reader(lambda row: torch.from_numpy(Numbers()(row)), 40, origin, reader=Deadly())
    message = r"one ended with -9, after 3 others within 10 minutes; .* write fewer resources\.loaders"
    with ahead(examples) as reading, pytest.raises(TrainingError, match=message):
        taken(reading, [0, 0], (8, 0))


def test_ends_that_are_long_ago_do_not_count(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaders, "WITHIN", 0.0)
    examples, first = load(data_of(folder=str(folder), size=SIDE)), [0, 0]
    killed: set[int] = set()
    with ahead(examples, count=1) as reading:
        while len(killed) < loaders.MOST_ENDS + 2:
            [pid] = pids_of(reading)
            if pid not in killed:  # what is asked for may have been read before it died
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            found, drawn = taken(reading, first, (3, 1))
            assert torch.equal(found, examples.fetch(drawn))


ORPHANS = """
import sys, time, numpy as np, torch
from dualsweep.trainer.data import examples as module
module.IN_MEMORY_BYTES = 0
from tests.trainer.data.conftest import data_of
from tests.trainer.data.test_read_ahead import pids_of, rows
from dualsweep.trainer.data.load import load
from dualsweep.trainer.data.read_ahead import ReadAhead
reading = ReadAhead(load(data_of(folder=sys.argv[1], size=16)), rows, {0: 0}, 1, 2, 2**20)
reading.take(np.zeros(4, dtype=np.int64), np.arange(4), torch.device("cpu"))
print(*pids_of(reading), flush=True)
time.sleep(600)
"""


def test_loaders_die_with_a_training_process_that_is_killed(folder: Path) -> None:
    root = Path(__file__).parents[3]
    parent = subprocess.Popen([sys.executable, "-c", ORPHANS, str(folder)], stdout=subprocess.PIPE, text=True, cwd=root)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(alive(pids)) == 2
    parent.kill()
    parent.wait()
    assert ended(pids)


def test_pixels_are_scaled_as_a_division_rounds() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).reshape(2, 8, 16)
    exact = torch.from_numpy((np.arange(256, dtype=np.float32) / np.float32(127.5) - np.float32(1)).reshape(2, 8, 16))
    assert torch.equal(scaled(pixels), exact) and torch.equal(scaled(pixels.transpose(1, 2)), exact.transpose(1, 2))
    assert scaled(exact) is exact


def test_a_process_may_have_any_number_of_open_files(folder: Path) -> None:
    """More than `select` takes: memory maps of data sets, sockets and logs are files too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    many = 2 * 1024
    assert hard == resource.RLIM_INFINITY or hard >= many, "at most so many files on this machine"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, many), hard))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        examples = load(data_of(folder=str(folder), size=SIDE))
        with ahead(examples) as reading:
            x, drawn = taken(reading, [0, 0], [4, 4])
        assert torch.equal(x, examples.fetch(drawn))
    finally:
        for each in opened:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
