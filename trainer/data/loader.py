"""A process that reads examples ahead: takes rows from a pipe that it shares with others, and puts examples into shared memory.

It imports what its reader needs and no more, works in one thread, and ends when the training process closes the pipe or dies.
"""

from __future__ import annotations

import mmap
import os
import pickle
import signal
import struct
import sys
from dataclasses import dataclass

import numpy as np

from dualsweep.trainer.data.readers import Reader

#: A task: a row, and the slot to put it into. The answer: the slot, or its complement where the example could not be read.
TASK, ANSWER = struct.Struct("=qi"), struct.Struct("=i")


@dataclass(frozen=True)
class Reading:
    """What a loader reads with, and what an example must be: anything else is left to the training process to complain of."""

    reader: Reader
    shape: tuple[int, ...]
    dtype: str


def serve() -> None:
    """Reads until there are no more tasks; the arguments are file descriptors, and where the reading lies in the memory."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the training process ends its loaders
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    memory, tasks, answers, start = map(int, sys.argv[1:])
    shared = mmap.mmap(memory, 0)
    reading: Reading = pickle.loads(shared[start:])
    size = int(np.prod(reading.shape)) * np.dtype(reading.dtype).itemsize
    slots = np.frombuffer(shared, reading.dtype, start // np.dtype(reading.dtype).itemsize)
    slots = slots[: start // size * size // slots.itemsize].reshape(-1, *reading.shape)
    while task := os.read(tasks, TASK.size):  # whole: they are written together, and a pipe is read under a lock
        row, slot = TASK.unpack(task)
        os.write(answers, ANSWER.pack(slot if _read(reading, row, slots[slot]) else ~slot))


def _read(reading: Reading, row: int, slot: np.ndarray) -> bool:
    """Puts the example of a row into its slot; whether that could be done."""
    try:
        example = np.asarray(reading.reader(row))
    except Exception:  # the training process, which has the words for it, reads this row itself when it needs it
        return False
    if example.shape != reading.shape or example.dtype != reading.dtype:
        return False
    slot[...] = example
    return True


if __name__ == "__main__":
    serve()
