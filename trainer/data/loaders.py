"""Loader processes as the training process sees them: rows go out, slots of shared memory come back."""

from __future__ import annotations

import math
import mmap
import os
import pickle
import select
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence

import numpy as np

from dualsweep.trainer.data.loader import ANSWER, TASK, Reading
from dualsweep.trainer.errors import TrainingError

#: Tasks that are written at once: what a pipe takes whole, by POSIX 512 bytes at least, and that is a round number of tasks.
_AT_ONCE = 512 // TASK.size
#: Slots, at most: so many tasks and answers fit into pipes, whose writers so never wait for each other.
MOST_SLOTS = 1024
#: Seconds after which a process is asked whether it still lives.
_PATIENCE = 1.0
#: One thread each, whatever the libraries of linear algebra would take; and the memory of one image serves the next, which glibc
#: would give back to the system and fetch anew, page by page, each time.
_ENVIRONMENT = {
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB")},
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
    "MALLOC_TRIM_THRESHOLD_": str(2**27),
}


class Loaders:
    """`count` processes that put examples into `slots` [n, *shape], n as many as `capacity` bytes hold, but one at least.

    They share one pipe of tasks, which keeps all busy however long an example takes, and die with this process: its end of the
    pipe is closed by the system. Examples lie in memory without a name, so nothing of them is left behind either.
    """

    def __init__(self, reading: Reading, count: int, capacity: int) -> None:
        size = math.prod(reading.shape) * np.dtype(reading.dtype).itemsize
        number = max(1, min(MOST_SLOTS, capacity // size))
        start = -(-number * size // mmap.PAGESIZE) * mmap.PAGESIZE
        memory = _memory(start, _pickled(reading))
        shared = mmap.mmap(memory, start)
        self.slots = np.frombuffer(shared, reading.dtype, number * math.prod(reading.shape)).reshape(number, *reading.shape)
        (tasks, self._tasks), (self._answers, answers) = os.pipe(), os.pipe()
        command = [sys.executable, "-m", "dualsweep.trainer.data.loader", *map(str, (memory, tasks, answers, start))]
        environment = {**os.environ, **_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(sys.path)}
        self.processes = [
            subprocess.Popen(command, pass_fds=(memory, tasks, answers), env=environment, stdin=subprocess.DEVNULL)
            for _ in range(count)
        ]
        for end in (memory, tasks, answers):
            os.close(end)
        self._end = weakref.finalize(self, _end, self.processes, (self._tasks, self._answers))

    def submit(self, tasks: Sequence[tuple[int, int]]) -> None:
        """Has each row read into its slot, in this order; a slot takes one at a time.

        Raises:
            TrainingError: all processes have ended.
        """
        for first in range(0, len(tasks), _AT_ONCE):
            try:
                os.write(self._tasks, b"".join(TASK.pack(*task) for task in tasks[first : first + _AT_ONCE]))
            except BrokenPipeError:
                raise _lost(self.processes[0].wait()) from None

    def done(self) -> list[tuple[int, bool]]:
        """Slots that are done, and whether they now hold their example; waits for one at least.

        Raises:
            TrainingError: a process has ended.
        """
        while not select.select([self._answers], [], [], _PATIENCE)[0]:
            for process in self.processes:
                if process.poll() is not None:
                    raise _lost(process.returncode)
        answers = os.read(self._answers, MOST_SLOTS * ANSWER.size)
        if not answers:
            raise _lost(self.processes[0].wait())
        slots = [slot for (slot,) in ANSWER.iter_unpack(answers)]
        return [(slot, True) if slot >= 0 else (~slot, False) for slot in slots]

    def kill(self) -> None:
        """Ends the processes at once: they hold nothing that could be lost. Whoever waits for an answer is told of it."""
        _kill(self.processes)

    def close(self) -> None:
        """Ends the processes, and lets go of the pipes; after the end it does nothing."""
        self._end()


def _lost(code: int) -> TrainingError:
    return TrainingError(
        f"a loader process must live as long as the training, but one ended with {code}; the worker's log has what it said: "
        "write fewer resources.loaders where memory ran out, and 0 where the data cannot be read in another process"
    )


def _end(processes: Sequence[subprocess.Popen[bytes]], descriptors: Sequence[int]) -> None:
    _kill(processes)
    for each in descriptors:
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
