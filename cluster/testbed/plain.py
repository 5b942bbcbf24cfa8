"""Nodes that are processes of this machine and no more, where namespaces cannot be made: they can be killed, not cut off."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

import psutil

from dualsweep.cluster.testbed import init
from dualsweep.cluster.testbed.layout import MARK, Cluster, Node, Started

#: Seconds that killed processes have to be gone.
PATIENCE = 10.0


def start(
    cluster: Cluster, node: Node, command: Sequence[str], environment: Mapping[str, str]
) -> tuple[Started, subprocess.Popen[bytes]]:
    """Starts a node, which runs `command` once a line is written to its standard input."""
    with cluster.log(node.name).open("ab") as said:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", init.__file__, "", "", "", *command], stdin=subprocess.PIPE, stdout=said, stderr=said,
            env=dict(environment), start_new_session=True,
            cwd=cluster.folder,
        )  # fmt: skip
    return Started.of(psutil.Process(process.pid)), process


def kill(mark: str, started: Started | None) -> None:
    """Ends a node's process 1 with all below it, and what else has the mark, until nothing is left or comes again."""
    end = time.monotonic() + PATIENCE
    while (processes := [*_below(started), *marked(mark)]) and time.monotonic() < end:
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.kill()
        time.sleep(0.05)


def marked(mark: str) -> Iterator[psutil.Process]:
    """The processes with a mark in their environment, `mark` or mark/NODE; this one aside."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            value = process.environ().get(MARK, "")
            of_it = value == mark or value.startswith(f"{mark}/")
            if of_it and process != psutil.Process() and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _below(started: Started | None) -> list[psutil.Process]:
    process = None if started is None else started.running()
    with contextlib.suppress(psutil.Error):
        return [] if process is None else [process, *process.children(recursive=True)]
    return []
