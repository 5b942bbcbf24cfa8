"""Nodes in namespaces of their own, joined by a bridge: each with a network, processes, a host name and a folder of sessions.

One process, the network, holds the namespaces that the bridge is in. All nodes are below it, so that the kernel ends them with
it, whatever ended it; and a node ends whole with its process 1, as a machine does. Of the machine's own network nothing is seen
or changed.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.testbed import enter, init
from dualsweep.cluster.testbed.layout import Cluster, Isolation, Node, Started

#: Seconds that namespaces take at most to be there, or to be gone.
PATIENCE = 10.0
_BRIDGE = "bridge"
_ADD_BRIDGE = ("ip", "link", "add", _BRIDGE, "type", "bridge")
#: With these a command is the process 1 of a machine, all of which the kernel kills when it or `unshare` ends.
_MACHINE = ("--net", "--pid", "--mount", "--uts", "--fork", "--kill-child", "--mount-proc")
_AS: Mapping[Isolation, tuple[str, ...]] = {"root": (), "user": ("--map-root-user",)}
_SCRIPT = (sys.executable, "-I", "-S")


def isolation() -> tuple[Isolation, str]:
    """How nodes can be kept apart by this user on this machine; and where they cannot, why, else ""."""
    if missing := [name for name in ("unshare", "ip", "mount") if shutil.which(name) is None]:
        return "none", f"there is no {missing[0]} (util-linux, iproute2)"
    said = ""
    for kind, flags in _AS.items():
        nested = ["unshare", *flags, *_MACHINE, "unshare", *_MACHINE, *_ADD_BRIDGE]
        tried = subprocess.run(nested, capture_output=True, text=True, check=False)
        if tried.returncode == 0:
            return kind, ""
        said = (tried.stderr.strip().splitlines() or ["no reason was given"])[0]
    return "none", said


def hold(cluster: Cluster, environment: Mapping[str, str]) -> tuple[Started, subprocess.Popen[bytes]]:
    """Starts the network of a cluster. It ends where its standard input does, unless a line is written there before."""
    command = ["unshare", *_AS[cluster.isolation], *_MACHINE, *_SCRIPT, init.__file__]
    return _process_one(command, cluster.log("network"), environment)


def bridge(cluster: Cluster) -> None:
    """Makes the bridge, in a network that is there."""
    _ip(cluster, _holder(cluster), [" ".join(_ADD_BRIDGE[1:]), f"link set {_BRIDGE} up"])


def start(
    cluster: Cluster, node: Node, command: Sequence[str], environment: Mapping[str, str]
) -> tuple[Started, subprocess.Popen[bytes]]:
    """Starts a node with its link, which runs `command` once a line is written to its standard input."""
    own = cluster.folder / node.name
    shutil.rmtree(own, ignore_errors=True)  # of sessions that have ended
    for folder in (own, cluster.temporary):
        folder.mkdir(parents=True, exist_ok=True)
    words = ["unshare", *_MACHINE, *_SCRIPT, init.__file__, node.name, str(own), str(cluster.temporary), *command]
    entered = entering(cluster, _holder(cluster), "net,uts,pid,mnt", words)
    started, process = _process_one(entered, cluster.log(node.name), environment)
    holder = _holder(cluster)
    _ip(cluster, holder, [f"link delete {node.name}"], needed=False)  # of a node that was killed just now
    peer = f"peer name eth0 address {_mac(node)} netns {started.pid}"
    _ip(cluster, holder, [f"link add {node.name} type veth {peer}", f"link set {node.name} master {_BRIDGE} up"])
    _ip(cluster, started, [f"address add {node.address}/24 dev eth0", "link set eth0 up", "link set lo up"])
    return started, process


def cut(cluster: Cluster, node: Node) -> None:
    """From now on what is sent over the node's link is lost, both ways, without a word to either side."""
    _ip(cluster, _holder(cluster), [f"link set {node.name} nomaster"])


def heal(cluster: Cluster, node: Node) -> None:
    """Joins a node's link to the bridge again."""
    _ip(cluster, _holder(cluster), [f"link set {node.name} master {_BRIDGE}"])


def kill(started: Started) -> None:
    """Ends a node, or the network with all nodes, at once, and waits until the process is gone."""
    end = time.monotonic() + PATIENCE
    while (process := started.running()) is not None and time.monotonic() < end:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
        time.sleep(0.02)


def entering(cluster: Cluster, started: Started, kinds: str, command: Sequence[str]) -> list[str]:
    """The command line that runs `command` in namespaces of a process: `kinds` of them, and the cluster's user's."""
    user = "user," if cluster.isolation == "user" else ""
    return [*_SCRIPT, enter.__file__, str(started.pid), f"{user}{kinds}", *command]


def _holder(cluster: Cluster) -> Started:
    assert cluster.network is not None  # who asks for a link has made sure that the cluster is up
    return cluster.network


def _mac(node: Node) -> str:
    """One that is the node's own, as of a machine that is started again: others hold on to it for half a minute."""
    return ":".join(["02", "00", *(f"{int(part):02x}" for part in node.address.split("."))])


def _ip(cluster: Cluster, of: Started, lines: Sequence[str], *, needed: bool = True) -> None:
    """Commands of `ip` in the network namespace of a process; process ids in them are the machine's."""
    command = entering(cluster, of, "net", ["ip", "-batch", "-"])
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=False)
    if needed and done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason was given"])[0]
        raise ClusterError("the kernel must set up the cluster's links", said, "`dualsweep cluster down`, then up again")


def _process_one(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> tuple[Started, subprocess.Popen[bytes]]:
    """Starts `command`, which leads to `init`; that one's process, under the id by which the machine knows it."""
    before = log.stat().st_size if log.exists() else 0
    with log.open("ab") as said:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=said, stderr=said, env=dict(environment), start_new_session=True,
            cwd=log.parent,
        )  # fmt: skip
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        for below in psutil.Process(process.pid).children(recursive=True):
            try:
                if below.cmdline()[:4] == [*_SCRIPT, init.__file__]:
                    return Started.of(below), process
            except psutil.Error:
                continue
        time.sleep(0.02)
    process.kill()
    last = (log.read_bytes()[before:].decode(errors="replace").strip().splitlines() or ["nothing within 10 s"])[-1]
    raise ClusterError("namespaces must be made for the cluster", last, "`dualsweep cluster down`, then up again")
