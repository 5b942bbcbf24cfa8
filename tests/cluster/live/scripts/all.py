"""A job: shows which files travelled and what it was told, and connects without an address, as a sweep does."""

import os
import sys
from pathlib import Path

import ray

from dualsweep.cluster.connection import connect

for path in Path().rglob("*"):
    if path.is_file():
        print("FILE", path)
print("SETTING", os.environ.get("SETTING"))
print("ARGUMENTS", sys.argv[1:])


@ray.remote(num_cpus=1)
def outer() -> str:
    return str(ray.get(inner.remote()))


@ray.remote(num_cpus=1)
def inner() -> str:
    from beside import WORD  # type: ignore[import-not-found]  # lies in the job's working directory

    return str(WORD)


with connect() as connection:
    print("STARTED", connection.started)
    print("CPUS", connection.machine.cpus)
    print("WORD", ray.get(outer.remote()))
