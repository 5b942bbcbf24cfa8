"""A cluster of several nodes on one machine: up, down, and what can become of its nodes and links meanwhile."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from dualsweep.cluster.connection import free_port
from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.testbed import namespaces, plain, ray_start
from dualsweep.cluster.testbed.layout import HEAD, Cluster, Node, locked, saved

#: The nodes' addresses, in a network that nobody else is in: the head's ends with 1.
_SUBNET = "10.77.0"
_MOST = 250
#: Ray's own folder of sessions, in whose place each node sees another one. A short path: there are sockets below it.
_SESSIONS = Path("/tmp/ray")


def up(folder: Path, nodes: int, cpus: int) -> Cluster:
    """A cluster of that many nodes: a head, which takes no training, and workers of `cpus` CPUs. What of it runs stays.

    Raises:
        ClusterError: it is up with other nodes, or does not start; nothing is left of it then.
    """
    if not 2 <= nodes <= _MOST or cpus < 1:
        rule = f"a cluster has a head and 1 to {_MOST - 1} workers, each with a CPU or more"
        raise ClusterError(rule, f"--nodes {nodes} --cpus {cpus}", "say for example --nodes 3 --cpus 1")
    with locked(folder):
        cluster = saved(folder)
        if cluster is None or not cluster.up:
            _clear(cluster)
            cluster = _planned(folder, nodes, cpus)
        elif (had := [node.cpus for node in cluster.nodes]) != [0] + [cpus] * (nodes - 1):
            was = f"{len(had)} nodes with {had[-1]} CPUs each, and --nodes {nodes} --cpus {cpus}"
            raise ClusterError("a cluster that is up keeps its nodes", was, "`dualsweep cluster down` first")
        try:
            if cluster.isolation != "none" and cluster.network is None:
                cluster = _with_network(cluster)
            return _started(cluster, [node.name for node in cluster.nodes])
        except BaseException:
            _clear(saved(folder))
            raise


def down(folder: Path) -> Cluster | None:
    """Ends all of it, and deletes what its folder holds; what was up, or None."""
    with locked(folder):
        cluster = saved(folder)
        was_up = cluster is not None and cluster.up
        _clear(cluster)
        return cluster if was_up else None


def running(folder: Path) -> Cluster:
    """The cluster of a folder.

    Raises:
        ClusterError: none is up there.
    """
    cluster = saved(folder)
    if cluster is None or not cluster.up:
        raise ClusterError("a cluster must be up", f"none in {folder}", "`dualsweep cluster up` starts one")
    return cluster


def start(folder: Path, name: str) -> Cluster:
    """Starts a node that is dead; one that runs stays. With the head the Ray of all others is started anew, to join it."""
    with locked(folder):
        cluster = running(folder)
        return _started(cluster, [cluster.node(name).name])


def kill(folder: Path, name: str) -> Cluster:
    """Ends a node at once with all that runs there, as when a machine loses its power."""
    with locked(folder):
        cluster = running(folder)
        node = cluster.node(name)
        if node.init is not None and cluster.isolation != "none":
            namespaces.kill(node.init)
        elif node.init is not None:
            plain.kill(f"{cluster.mark}/{name}", node.init)
        return _saved(cluster.with_node(replace(node, init=None, cut=False)))


def cut(folder: Path, name: str) -> Cluster:
    """Cuts a node off from all others: both sides run on, and hear nothing of each other."""
    return _linked(folder, name, True)


def heal(folder: Path, name: str) -> Cluster:
    """Joins a node's link again."""
    return _linked(folder, name, False)


def execute(folder: Path, name: str, command: Sequence[str]) -> NoReturn:
    """Becomes `command` on a node, with the cluster's address and token in its environment, in this working directory.

    Raises:
        ClusterError: the node is not there to run it, or the command is not.
    """
    cluster = running(folder)
    node = cluster.node(name)
    if node.init is None or node.state == "dead":
        raise ClusterError("a command needs a node that runs", f"{name}, which is dead", f"`dualsweep cluster start {name}`")
    environment = ray_start.environment_of_commands(cluster, name)
    words = list(command)
    if cluster.isolation != "none":
        words = namespaces.entering(cluster, node.init, "net,uts,pid,mnt", command)
    try:
        os.execvpe(words[0], words, environment)
    except OSError as error:
        raise ClusterError("a command must be a program", f"{command[0]}: {error.strerror}", "check its name") from error


def _linked(folder: Path, name: str, apart: bool) -> Cluster:
    with locked(folder):
        cluster = running(folder)
        node = cluster.node(name)
        if cluster.isolation == "none":
            rule = "only nodes with a network of their own can be cut off"
            way_out = f"`dualsweep cluster kill {name}`, or a system where root or users may make namespaces"
            raise ClusterError(rule, f"nodes without namespaces ({cluster.why_plain})", way_out)
        if node.state == "dead":
            raise ClusterError("a link needs a node that runs", f"{name}, which is dead", f"`dualsweep cluster start {name}`")
        (namespaces.cut if apart else namespaces.heal)(cluster, node)
        return _saved(cluster.with_node(replace(node, cut=apart)))


def _planned(folder: Path, nodes: int, cpus: int) -> Cluster:
    """A cluster of which nothing runs yet."""
    if any(folder.iterdir()):
        rule, remedy = "a cluster's folder must be empty, or a cluster's", "name another one with --state"
        raise ClusterError(rule, f"other files in {folder}", remedy)
    kind, why = namespaces.isolation()
    names = [HEAD, *(f"worker-{number}" for number in range(1, nodes))]
    if kind == "none":
        addresses, ports = ["127.0.0.1"] * nodes, (free_port(), free_port())
        temporary = Path(tempfile.mkdtemp(prefix="dualsweep-"))  # short: Ray has sockets below it
    else:
        addresses, ports = [f"{_SUBNET}.{number}" for number in range(1, nodes + 1)], (6379, 8265)
        temporary = _SESSIONS
    made = tuple(Node(name, address, 0 if name == HEAD else cpus) for name, address in zip(names, addresses, strict=True))
    gcs, jobs = f"{addresses[0]}:{ports[0]}", f"http://{addresses[0]}:{ports[1]}"
    cluster = Cluster(folder, secrets.token_hex(8), kind, gcs, jobs, temporary, made, why_plain=why)
    cluster.token.touch(mode=0o600)
    cluster.token.write_text(secrets.token_hex(32))
    return _saved(cluster)


def _with_network(cluster: Cluster) -> Cluster:
    network, process = namespaces.hold(cluster, ray_start.environment(cluster))
    cluster = _saved(replace(cluster, network=network))
    _let_go(process)
    namespaces.bridge(cluster)
    return cluster


def _started(cluster: Cluster, names: Sequence[str]) -> Cluster:
    """With those of the nodes started that are dead: the head before others, and these side by side."""
    dead = [name for name in names if cluster.node(name).state == "dead"]
    renewed = [node for node in cluster.nodes if HEAD in dead and node.state != "dead"]
    read = {node.name: _written(cluster, node.name) for node in cluster.nodes}
    for node in renewed:  # at first: Ray starts no second head where it sees servers of one
        ray_start.renew(node)
    if HEAD in dead:
        cluster = _begun(cluster, HEAD)
        ray_start.wait(cluster, cluster.node(HEAD), read[HEAD])
    for name in set(dead) - {HEAD}:
        cluster = _begun(cluster, name)
    for name in {*dead, *(node.name for node in renewed if not node.cut)} - {HEAD}:
        ray_start.wait(cluster, cluster.node(name), read[name])
    return cluster


def _written(cluster: Cluster, name: str) -> int:
    log = cluster.log(name)
    return log.stat().st_size if log.exists() else 0


def _begun(cluster: Cluster, name: str) -> Cluster:
    node, ground = cluster.node(name), plain if cluster.isolation == "none" else namespaces
    init, process = ground.start(cluster, node, ray_start.command(cluster, node), ray_start.environment(cluster, name))
    cluster = _saved(cluster.with_node(replace(node, init=init, cut=False)))
    _let_go(process)
    return cluster


def _let_go(process: subprocess.Popen[bytes]) -> None:
    """Lets a process begin that would have ended with this one until now: it is written down."""
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.close()


def _saved(cluster: Cluster) -> Cluster:
    cluster.save()
    return cluster


def _clear(cluster: Cluster | None) -> None:
    """Ends what runs of a cluster, and deletes its files."""
    if cluster is None:
        return
    if cluster.network is not None:
        namespaces.kill(cluster.network)
    for node in cluster.nodes:
        plain.kill(f"{cluster.mark}/{node.name}", None if cluster.isolation != "none" else node.init)
    plain.kill(cluster.mark, None)
    if cluster.isolation == "none":
        shutil.rmtree(cluster.temporary, ignore_errors=True)
    cluster.delete()
