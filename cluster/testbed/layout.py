"""What a cluster on one machine is made of, as its folder keeps it from one command to the next."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import psutil

from dualsweep.cluster.errors import ClusterError

#: How nodes are kept apart: in namespaces made as root, in namespaces below one of the user's own, or not at all.
Isolation = Literal["root", "user", "none"]
HEAD = "head"
#: In the environment of all that belongs to a cluster, its mark; of what belongs to a node, mark/NAME.
MARK = "DUALSWEEP_TESTBED"
_STATE = "cluster.json"


@dataclass(frozen=True)
class Started:
    """A process that was started; `began` (seconds since the epoch) tells it from a later one that has its id."""

    pid: int
    began: float

    @classmethod
    def of(cls, process: psutil.Process) -> Started:
        return cls(process.pid, process.create_time())

    def running(self) -> psutil.Process | None:
        """The process, where it is still there."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.began) < 2 and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


@dataclass(frozen=True)
class Node:
    """One node: its name, IP address, the CPUs that Ray counts on it, its process 1, and whether its link is cut."""

    name: str
    address: str
    cpus: int
    init: Started | None = None
    cut: bool = False

    @property
    def state(self) -> str:
        """In one word."""
        if self.init is None or self.init.running() is None:
            return "dead"
        return "cut off" if self.cut else "running"


@dataclass(frozen=True)
class Cluster:
    """A cluster: `folder` is its own, `mark` its name in its processes' environments, `gcs` and `jobs` its front doors.

    `network` is the process that holds the bridge's namespaces, with which all nodes end; None without namespaces. `temporary` is
    Ray's folder for sessions: with namespaces each node has another one there.
    """

    folder: Path
    mark: str
    isolation: Isolation
    gcs: str
    jobs: str
    temporary: Path
    nodes: tuple[Node, ...]
    network: Started | None = None
    why_plain: str = ""

    @property
    def up(self) -> bool:
        """Whether any of it runs."""
        holders = [self.network] if self.isolation != "none" else [node.init for node in self.nodes]
        return any(holder is not None and holder.running() is not None for holder in holders)

    def node(self, name: str) -> Node:
        """The node of that name.

        Raises:
            ClusterError: there is none.
        """
        names = [node.name for node in self.nodes]
        if name not in names:
            raise ClusterError("a node must be one of the cluster's", repr(name), f"name one of {', '.join(names)}")
        return self.nodes[names.index(name)]

    def with_node(self, changed: Node) -> Cluster:
        """The same with another account of one node."""
        return replace(self, nodes=tuple(changed if node.name == changed.name else node for node in self.nodes))

    @property
    def token(self) -> Path:
        """The file of the cluster's own token."""
        return self.folder / "token"

    def log(self, name: str) -> Path:
        """What a node's Ray has said."""
        return self.folder / f"{name}.log"

    def save(self) -> None:
        """Writes it down, whole or not at all."""
        beside = self.folder / f"{_STATE}.new"
        beside.write_text(json.dumps(asdict(self), indent=2, default=str) + "\n")
        beside.replace(self.folder / _STATE)

    def delete(self) -> None:
        """Deletes the cluster's own files, and nothing else that lies in its folder; that it was there last of all."""
        for node in self.nodes:
            shutil.rmtree(self.folder / node.name, ignore_errors=True)
        logs = [self.log(name) for name in ("network", *(node.name for node in self.nodes))]
        for path in (*logs, self.token, self.folder / f"{_STATE}.new", self.folder / _STATE):
            path.unlink(missing_ok=True)


def saved(folder: Path) -> Cluster | None:
    """The cluster that a folder tells of, running or not; None where it tells of none.

    Raises:
        ClusterError: what the file holds is not what was written.
    """
    try:
        read = json.loads((folder / _STATE).read_text())
        nodes = tuple(Node(**{**node, "init": _started(node["init"])}) for node in read["nodes"])
        paths = {"folder": folder, "temporary": Path(read["temporary"])}
        return Cluster(**{**read, **paths, "nodes": nodes, "network": _started(read["network"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        rule, remedy = "a cluster's folder must hold what `cluster up` wrote", f"end its processes and delete {folder}"
        raise ClusterError(rule, f"{folder / _STATE}: {error}", remedy) from error


def _started(read: dict[str, Any] | None) -> Started | None:
    return None if read is None else Started(**read)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """While this lasts no other command changes the cluster of that folder; it is waited for."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
