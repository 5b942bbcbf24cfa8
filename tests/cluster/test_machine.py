"""Measuring a machine, with the system's files faked."""

import os
from pathlib import Path

import pytest

from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.machine import connected_machine, local_machine


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


@pytest.fixture(autouse=True)
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_without_limits(tmp_path: Path) -> None:
    machine = local_machine(tmp_path)
    assert (machine.cpus, machine.gpus) == (8, 0)
    assert machine.memory_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(("quota", "cpus"), [("300000 100000", 3), ("250000 100000", 2), ("50000 100000", 1), ("max 100000", 8)])
def test_cgroup_v2_quota(tmp_path: Path, quota: str, cpus: int) -> None:
    write(tmp_path, "sys/fs/cgroup/cpu.max", quota + "\n")
    assert local_machine(tmp_path).cpus == cpus


@pytest.mark.parametrize(("quota", "cpus"), [("400000", 4), ("-1", 8)])
def test_cgroup_v1_quota(tmp_path: Path, quota: str, cpus: int) -> None:
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota)
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")
    assert local_machine(tmp_path).cpus == cpus


@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
def test_cgroup_memory(tmp_path: Path, name: str) -> None:
    write(tmp_path, f"sys/fs/cgroup/{name}", "1000000000\n")
    assert local_machine(tmp_path).memory_bytes == 1_000_000_000


def test_no_memory_limit(tmp_path: Path) -> None:
    write(tmp_path, "sys/fs/cgroup/memory.max", "max\n")
    assert local_machine(tmp_path).memory_bytes == local_machine(tmp_path / "nothing").memory_bytes


@pytest.mark.parametrize(
    ("visible", "gpus"), [(None, 2), ("", 0), ("0", 1), ("0,1", 2), ("-1", 0), ("0,-1,1", 1), ("GPU-abc", 1)]
)
def test_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, gpus: int) -> None:
    for device in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        write(tmp_path, f"dev/{device}", "")
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert local_machine(tmp_path).gpus == gpus


def test_no_connection() -> None:
    with pytest.raises(ClusterError, match="needs a connection"):
        connected_machine()
