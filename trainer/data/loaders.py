"""Loader processes as the training process sees them: rows go out, slots of shared memory come back."""

from __future__ import annotations

import logging
import math
import mmap
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from multiprocessing import connection

import numpy as np

from dualsweep.trainer.data.loader import ANSWER, TASK, Reading
from dualsweep.trainer.errors import TrainingError

#: Tasks that are written at once: what a pipe takes whole, by POSIX 512 bytes at least, and that is a round number of tasks.
_AT_ONCE = 512 // TASK.size
#: Slots, at most: so many tasks and answers fit into pipes, whose writers so never wait for each other.
MOST_SLOTS = 1024
#: Processes that may end within so many seconds and be started again: one whose memory ran out, or that somebody ended, but not
#: one that ends whenever it reads a certain row.
MOST_ENDS, WITHIN = 3, 600.0
#: Seconds after which a process is asked whether it still lives.
_PATIENCE = 1.0
#: One thread each, whatever the libraries of linear algebra would take; and the memory of one image serves the next, which glibc
#: would give back to the system and fetch anew, page by page, each time.
_ENVIRONMENT = {
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB")},
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**27),
}
_log = logging.getLogger(__name__)


class Loaders:
    """`count` processes that put examples into `slots` [n, *shape], n as many as `capacity` bytes hold, but one at least.

    They share one pipe of tasks, which keeps all busy however long an example takes, and die with this process: its end of the
    pipe is closed by the system. Examples lie in memory without a name, so nothing of them is left behind either.

    Where one ends, which may have had any of the tasks, all are started again, and have what was not answered read anew.
    """

    def __init__(self, reading: Reading, count: int, capacity: int) -> None:
        size = math.prod(reading.shape) * np.dtype(reading.dtype).itemsize
        number = max(1, min(MOST_SLOTS, capacity // size))
        self._start = -(-number * size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._memory = _memory(self._start, _pickled(reading))
        shared = mmap.mmap(self._memory, self._start)
        self.slots = np.frombuffer(shared, reading.dtype, number * math.prod(reading.shape)).reshape(number, *reading.shape)
        self.processes: list[subprocess.Popen[bytes]] = []
        self._pipes: list[int] = []
        self._end = weakref.finalize(self, _end, self.processes, self._pipes, self._memory)
        self._count, self._killed, self._changing = count, False, threading.Lock()
        self._asked: dict[int, int] = {}  # the row of each slot that was not answered
        self._answered = b""
        self._ends: deque[float] = deque(maxlen=MOST_ENDS)
        self._begin()

    def _begin(self) -> None:
        (tasks, give), (take, answers) = os.pipe(), os.pipe()
        self._pipes[:] = [give, take]
        command = [sys.executable, "-m", "dualsweep.trainer.data.loader", *map(str, (self._memory, tasks, answers, self._start))]
        environment = {**os.environ, **_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(sys.path)}
        self.processes[:] = [
            subprocess.Popen(command, pass_fds=(self._memory, tasks, answers), env=environment, stdin=subprocess.DEVNULL)
            for _ in range(self._count)
        ]
        for end in (tasks, answers):
            os.close(end)

    def submit(self, tasks: Sequence[tuple[int, int]]) -> None:
        """Has each row read into its slot, in this order; a slot takes one at a time.

        Raises:
            TrainingError: processes end again and again.
        """
        self._asked |= {slot: row for row, slot in tasks}
        if self._ended() is not None:
            self._begin_again()
        else:
            self._ask(tasks)

    def _ask(self, tasks: Sequence[tuple[int, int]]) -> None:
        try:
            for first in range(0, len(tasks), _AT_ONCE):
                os.write(self._pipes[0], b"".join(TASK.pack(*task) for task in tasks[first : first + _AT_ONCE]))
        except BrokenPipeError:  # of all processes
            self._begin_again()

    def done(self) -> list[tuple[int, bool]]:
        """Slots that are done, and whether they now hold their example; waits for one at least.

        Raises:
            TrainingError: processes end again and again, or were ended by `kill`.
        """
        while not self._answered:
            if connection.wait([self._pipes[1]], _PATIENCE):  # `select` fails in a process of more than 1,024 open files
                self._answered = os.read(self._pipes[1], MOST_SLOTS * ANSWER.size)
            if not self._answered and self._ended() is not None:
                self._begin_again()
        slots, self._answered = [slot for (slot,) in ANSWER.iter_unpack(self._answered)], b""
        for slot in slots:
            del self._asked[slot if slot >= 0 else ~slot]
        return [(slot, True) if slot >= 0 else (~slot, False) for slot in slots]

    def _ended(self) -> int | None:
        """How the first process that has ended did."""
        return next((process.returncode for process in self.processes if process.poll() is not None), None)

    def _begin_again(self) -> None:
        with self._changing:
            code = self.processes[0].wait() if (ended := self._ended()) is None else ended
            now = time.monotonic()
            if self._killed or (len(self._ends) == MOST_ENDS and now - self._ends[0] < WITHIN):
                raise _lost(code)
            self._ends.append(now)
            _log.warning("a loader process ended with %d; all are started again, and nothing else changes", code)
            _kill(self.processes)
            self._answered += _left(self._pipes[1])
            for each in self._pipes:
                os.close(each)
            self._begin()
        answered = {slot if slot >= 0 else ~slot for (slot,) in ANSWER.iter_unpack(self._answered)}
        self._ask([(row, slot) for slot, row in self._asked.items() if slot not in answered])

    def kill(self) -> None:
        """Ends the processes at once: they hold nothing that could be lost. Whoever waits for an answer is told of it."""
        with self._changing:
            self._killed = True
            _kill(self.processes)

    def close(self) -> None:
        """Ends the processes, and lets go of the pipes; after the end it does nothing."""
        self._end()


def _lost(code: int) -> TrainingError:
    return TrainingError(
        f"loader processes must live as long as the training, but one ended with {code}, after {MOST_ENDS} others within "
        f"{WITHIN / 60:.0f} minutes; the worker's log has what it said: write fewer resources.loaders where memory ran out, and "
        "0 where the data cannot be read in another process"
    )


def _left(answers: int) -> bytes:
    """The answers of processes that have ended."""
    os.set_blocking(answers, False)  # a reader's own children may still hold the other end
    try:
        return os.read(answers, MOST_SLOTS * ANSWER.size)
    except BlockingIOError:
        return b""


def _end(processes: Sequence[subprocess.Popen[bytes]], pipes: Sequence[int], memory: int) -> None:
    _kill(processes)
    for each in (*pipes, memory):
        os.close(each)


def _kill(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()


def _memory(start: int, reading: bytes) -> int:
    """A descriptor of shared memory without a name: `start` bytes of nothing, then `reading`.

    Anonymous where the system has it, as /dev/shm of a container is often small; else a file that is deleted already.
    """
    if hasattr(os, "memfd_create"):
        memory = os.memfd_create("examples")
    else:
        with tempfile.TemporaryFile() as file:
            memory = os.dup(file.fileno())
    os.ftruncate(memory, start)
    with open(memory, "r+b", closefd=False) as stream:
        stream.seek(start)
        stream.write(reading)
    return memory


def _pickled(reading: Reading) -> bytes:
    try:
        return pickle.dumps(reading)
    except Exception as error:  # a user's data set: an open file, a lambda, a lock
        raise TrainingError(
            f"data that loader processes read must be picklable, but got {type(error).__name__}: {error}; write "
            "resources.loaders: 0"
        ) from error
