"""Whether the cluster is still there: without its head a driver would wait for ever, or Ray would end it without a word."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from dualsweep.cluster.address import probe_gcs
from dualsweep.cluster.errors import ClusterError

#: Seconds between two looks at processes of our own, and at a cluster that was joined.
_OWN, _JOINED = 0.5, 5.0
#: Seconds without an answer after which a joined cluster counts as gone. Ray ends this process after 60.
_GONE = 30.0
#: Ray's servers on a machine, by their programs, as people call them.
_SERVERS = {"gcs_server": "Ray's GCS", "raylet": "Ray's raylet"}

Loss = Callable[[str, bool], None]


@contextlib.contextmanager
def watched(joined: str | None, on_loss: Loss, finish: Callable[[], None]) -> Iterator[None]:
    """When the cluster is gone, ends what is left of it by `finish` and calls `on_loss`: once, in a thread of its own.

    `joined` is the host:port of a cluster that was joined; None: the cluster is of this process, and ends with it. `on_loss` is
    told what was found, and whether the cluster was of this process.
    """
    over = threading.Event()
    gone = _gone(joined) if joined else _dead(_servers())

    def watch() -> None:
        while not over.wait(_JOINED if joined else _OWN):
            if (found := gone()) and not over.is_set():
                finish()
                on_loss(found, joined is None)
                return

    threading.Thread(target=watch, daemon=True, name="vitals").start()
    try:
        yield
    finally:
        over.set()


def _servers() -> list[tuple[psutil.Process, str]]:
    """This process's own servers of Ray, and what they are called."""
    servers = []
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            program = Path((process.cmdline() or [""])[0]).name
            if program in _SERVERS:
                servers.append((process, _SERVERS[program]))
    return servers


def _dead(servers: list[tuple[psutil.Process, str]]) -> Callable[[], str]:
    def found() -> str:
        return next((f"{name} has died" for process, name in servers if not _runs(process)), "")

    return found


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _gone(joined: str) -> Callable[[], str]:
    last = time.monotonic()

    def found() -> str:
        nonlocal last
        try:
            probe_gcs(joined)
        except ClusterError:
            silent = time.monotonic() - last
            return f"no answer from the cluster at {joined} for {silent:.0f} s" if silent >= _GONE else ""
        last = time.monotonic()
        return "" if _has_this_node() else f"this machine's node of the cluster at {joined} has died"

    return found


def _has_this_node() -> bool:
    """Whether the node that this process is connected through is alive, by the cluster's own account."""
    import ray

    own = ray.get_runtime_context().get_node_id()
    return any(node["NodeID"] == own and node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]
