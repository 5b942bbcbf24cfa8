"""How Ray is started on each node of a cluster on one machine, and the environment in which it and commands run there."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

import psutil

from dualsweep.cluster.auth import MODE, TOKEN, TOKEN_PATH
from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.machine import local_machine
from dualsweep.cluster.testbed.init import ENDED
from dualsweep.cluster.testbed.layout import HEAD, MARK, Cluster, Node

#: Seconds that Ray has on a node until it has started, and how often it may end meanwhile.
PATIENCE, TRIES = 180.0, 5
_STARTED = "Ray runtime started"
#: Of a node's share of the memory, what is for its object store, and the bytes of that at most.
_OBJECTS, _MOST_OBJECTS = 0.2, 2**30
#: Of the caller's environment these are about another cluster, or another place of Ray's.
_OTHERS = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_TMPDIR", TOKEN)


def command(cluster: Cluster, node: Node) -> list[str]:
    """`ray start` for a node. The nodes divide the machine's memory among them; its GPUs are left alone."""
    share = local_machine().memory_bytes // len(cluster.nodes)
    objects = min(int(share * _OBJECTS), _MOST_OBJECTS)
    # Not the script `ray`, which may be another installation's.
    words = [sys.executable, "-P", "-m", "ray.scripts.scripts", "start", "--block", f"--num-cpus={node.cpus}", "--num-gpus=0"]
    words += [f"--memory={share - objects}", f"--object-store-memory={objects}", "--min-worker-port=0", "--max-worker-port=0"]
    if cluster.isolation != "none":
        words += [f"--node-ip-address={node.address}"]
    if node.name != HEAD:
        return [*words, f"--address={cluster.gcs}"]
    host, _, port = cluster.jobs.removeprefix("http://").partition(":")
    words += ["--head", f"--port={cluster.gcs.rpartition(':')[2]}", f"--dashboard-host={host}", f"--dashboard-port={port}"]
    return [*words, "--include-dashboard=true", "--disable-usage-stats", f"--temp-dir={cluster.temporary}"]


def environment(cluster: Cluster, node: str = "") -> dict[str, str]:
    """The caller's, with the cluster's own token, and its mark."""
    kept = {name: value for name, value in os.environ.items() if name not in _OTHERS}
    mark = f"{cluster.mark}/{node}" if node else cluster.mark
    return {**kept, MODE: "token", TOKEN_PATH: str(cluster.token), MARK: mark, "PYTHONUNBUFFERED": "1"}


def environment_of_commands(cluster: Cluster, node: str) -> dict[str, str]:
    """For a command on a node: it finds the cluster and its job server, and this installation's programs first."""
    addresses = {"RAY_ADDRESS": cluster.gcs, "RAY_API_SERVER_ADDRESS": cluster.jobs}
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    return {**environment(cluster, node), **addresses, "PATH": path}


def renew(node: Node) -> None:
    """Has Ray started anew on a node that runs, for another head: by itself it looks for the one that was lost for a minute."""
    init = None if node.init is None else node.init.running()
    with contextlib.suppress(psutil.Error):
        for process in [] if init is None else init.children(recursive=True):
            if process.name() == "raylet":
                process.kill()


def wait(cluster: Cluster, node: Node, read: int) -> None:
    """Waits until Ray has started on a node, as its log says after the first `read` bytes.

    Raises:
        ClusterError: it has not within `PATIENCE` seconds, or the node ended.
    """
    end, log = time.monotonic() + PATIENCE, cluster.log(node.name)
    while _STARTED not in (said := log.read_bytes()[read:].decode(errors="replace")):
        if said.count(ENDED) >= TRIES or time.monotonic() > end or node.state == "dead":
            lines = [line.strip() for line in said.splitlines() if line.strip() and ENDED not in line]
            raise ClusterError(f"Ray must start on the node {node.name}", (lines or ["no word of it"])[-1][:300], f"see {log}")
        time.sleep(0.1)
