"""What this machine, or the connected cluster, offers: the measured side of planning."""

import os
from collections.abc import Mapping
from math import floor
from pathlib import Path
from typing import Any

from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.resources import Machine

_ROOT = Path("/")


def local_machine(root: Path = _ROOT) -> Machine:
    """Measure this machine: the CPUs and the RAM that this process may use, and the GPUs that it can see.

    A container's CPU quota and memory limit count (cgroup v1 and v2); part of a CPU beyond whole ones isn't counted, as
    Ray's local cluster has whole CPUs, and there is always at least one. `root` is where /sys and /dev are looked for.
    """
    quota = _cgroup_cpus(root)
    cpus = min(_usable_cpus(), quota) if quota is not None else _usable_cpus()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    memory_limit = _cgroup_memory(root)
    return Machine(
        cpus=float(max(1, floor(cpus))),
        gpus=float(_visible_gpus(root)),
        memory_bytes=min(memory, memory_limit) if memory_limit is not None else memory,
    )


def connected_machine() -> Machine:
    """Measure the cluster to which this process is connected, node by node, without those that are about to go.

    Memory is what Ray counts on each node: its logical memory plus its object store.

    Raises:
        ClusterError: not connected, or no node is alive.
    """
    import ray

    if not ray.is_initialized():
        raise ClusterError("planning on a cluster needs a connection to it", "none", "call dualsweep.cluster.connect first")
    leaving = _leaving()
    nodes = tuple(_node(node["Resources"]) for node in _nodes() if node["Alive"] and node["NodeID"] not in leaving)
    if not nodes:
        raise ClusterError("the cluster must have a living node", "none", "start its head with `ray start --head`")
    return Machine.of_nodes(nodes) if len(nodes) > 1 else nodes[0]


def _nodes() -> list[dict[str, Any]]:
    import ray

    return list(ray.nodes())  # type: ignore[no-untyped-call]  # Ray leaves it without types


def _leaving() -> set[str]:
    """The ids of nodes that Ray drains: they have been told to end, and take nothing new."""
    from ray._private import state  # of which Ray has no public word

    return set(state.state.get_draining_nodes())


def _node(resources: Mapping[str, Any]) -> Machine:
    """One of Ray's nodes; a resource that it leaves out is 0, as CPUs on a head that takes no work."""
    return Machine(
        cpus=float(resources.get("CPU", 0)),
        gpus=float(resources.get("GPU", 0)),
        memory_bytes=int(resources.get("memory", 0) + resources.get("object_store_memory", 0)),
    )


def _usable_cpus() -> int:
    """CPUs on which this process may be scheduled; all of them where the system can't tell (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cgroup_cpus(root: Path) -> float | None:
    """The container's CPU quota, in CPUs; None without one."""
    words = _words(root / "sys/fs/cgroup/cpu.max")  # v2: "200000 100000", or "max 100000"
    if len(words) == 2:
        return None if words[0] == "max" else int(words[0]) / int(words[1])
    quota = _words(root / "sys/fs/cgroup/cpu/cpu.cfs_quota_us")  # v1: -1 without a quota
    period = _words(root / "sys/fs/cgroup/cpu/cpu.cfs_period_us")
    if quota and period and int(quota[0]) > 0:
        return int(quota[0]) / int(period[0])
    return None


def _cgroup_memory(root: Path) -> int | None:
    """The container's memory limit, in bytes; None without one. (v1 says "none" by a number beyond any machine.)"""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        words = _words(root / "sys/fs/cgroup" / name)
        if words:
            return None if words[0] == "max" else int(words[0])
    return None


def _visible_gpus(root: Path) -> int:
    """NVIDIA GPUs that this process may use: CUDA_VISIBLE_DEVICES where set, else the devices that exist."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    present = sum(1 for device in root.glob("dev/nvidia[0-9]*"))
    if listed is None or not present:
        return present
    names = [name.strip() for name in listed.split(",") if name.strip()]
    # CUDA stops at the first device that doesn't exist, and -1 is the usual way to hide them all.
    return names.index("-1") if "-1" in names else len(names)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
