"""What a cluster's folder tells of it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.testbed.layout import Cluster, Node, Started, locked, saved


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    here = Started.of(psutil.Process())
    nodes = (
        Node("head", "10.77.0.1", 0, here),
        Node("worker-1", "10.77.0.2", 2, here, cut=True),
        Node("worker-2", "10.77.0.3", 2),
    )
    return Cluster(tmp_path, "ab12", "user", "10.77.0.1:6379", "http://10.77.0.1:8265", Path("/tmp/ray"), nodes, here)


def test_what_is_saved_is_read_again(cluster: Cluster) -> None:
    assert saved(cluster.folder) is None
    cluster.save()
    assert saved(cluster.folder) == cluster and cluster.up
    assert [node.state for node in cluster.nodes] == ["running", "cut off", "dead"]


def test_a_process_with_the_id_of_another_is_not_taken_for_it(cluster: Cluster) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        ended = Started.of(psutil.Process(process.pid))
    assert ended.running() is None
    here = Started.of(psutil.Process())
    assert here.running() is not None and replace(here, began=here.began - 60).running() is None
    assert not replace(cluster, network=ended).up


def test_an_unknown_node_is_told_with_the_known_ones(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match=r"one of the cluster's, but got 'worker-3'; name one of head, worker-1, worker-2"):
        cluster.node("worker-3")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"nodes": [{"name": 1}]}'])
def test_a_damaged_file_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text(text)
    with pytest.raises(ClusterError, match=r"must hold what `cluster up` wrote, but got .*cluster\.json: "):
        saved(tmp_path)


def test_the_cluster_s_own_files_are_deleted_and_no_other(cluster: Cluster) -> None:
    cluster.save()
    for name in ("token", "head.log", "network.log"):
        (cluster.folder / name).touch()
    (cluster.folder / "head" / "session").mkdir(parents=True)
    (cluster.folder / "mine.txt").touch()
    cluster.delete()
    assert [path.name for path in cluster.folder.iterdir()] == ["mine.txt"]


def test_one_command_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "cluster"
    tries = f"import fcntl, os; fcntl.flock(os.open({str(folder)!r}, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    with locked(folder):
        assert subprocess.run([sys.executable, "-c", tries], capture_output=True, check=False).returncode != 0
        assert folder.stat().st_mode & 0o777 == 0o700 and folder.stat().st_uid == os.getuid()
    assert subprocess.run([sys.executable, "-c", tries], capture_output=True, check=False).returncode == 0
