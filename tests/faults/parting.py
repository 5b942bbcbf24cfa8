"""What becomes of a node, or of its link, of the cluster that a sweep has joined: `dualsweep cluster` on this machine."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest import mock

from dualsweep.cluster.testbed import operations
from dualsweep.cluster.testbed.layout import HEAD

#: A node that dies and is started again; one whose link is cut and heals: a worker where is trained, for as long as Ray needs to
#: take it for dead and for less, and the head, with the driver.
KILLED, CUT, SHORTLY, CUT_HEAD = "killed-node", "cut-node", "cut-shortly", "cut-head"
PARTINGS = (KILLED, CUT, SHORTLY, CUT_HEAD)
#: Seconds from the one to the other.
_APART: Mapping[str, float] = {KILLED: 5.0, CUT: 30.0, SHORTLY: 5.0, CUT_HEAD: 30.0}
#: Ray takes a node for dead within 15 s here, and not within a minute.
_SOON = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
}


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """A head and two workers of one CPU, with their state in `folder`; nothing of them is left."""
    try:
        with mock.patch.dict(os.environ, _SOON):
            operations.up(folder, 3, 1)
        yield
    finally:
        operations.down(folder)


def part(kind: str, folder: Path, training: str) -> None:
    """Does to a cluster what the kind says, and undoes it; `training` is the node where is trained."""
    name = HEAD if kind == CUT_HEAD else training
    strike, undo = (operations.kill, operations.start) if kind == KILLED else (operations.cut, operations.heal)
    strike(folder, name)
    time.sleep(_APART[kind])
    undo(folder, name)
