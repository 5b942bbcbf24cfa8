"""`dualsweep cluster …` where there is no cluster, or none of that kind: what is said before anything starts."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from dualsweep.cluster.testbed.layout import Cluster, Node, Started
from tests.sweeps.here import dualsweep_here


@pytest.mark.parametrize(
    "words", [["status"], ["kill", "head"], ["start", "head"], ["cut", "head"], ["heal", "head"], ["exec", "ls", "--all"]]
)
def test_without_a_cluster(words: list[str], tmp_path: Path) -> None:
    done = dualsweep_here("cluster", words[0], "--state", "here", *words[1:], folder=tmp_path)
    said = f"dualsweep: a cluster must be up, but got none in {tmp_path}/here; `dualsweep cluster up` starts one\n"
    assert (done.returncode, done.stderr) == (2, said)


def test_down_without_a_cluster_is_no_error(tmp_path: Path) -> None:
    done = dualsweep_here("cluster", "down", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, "no cluster was up\n")


@pytest.mark.parametrize("words", [["--nodes", "1"], ["--nodes", "251"], ["--cpus", "0"]])
def test_sizes_that_there_are_not(words: list[str], tmp_path: Path) -> None:
    done = dualsweep_here("cluster", "up", "--state", "here", *words, folder=tmp_path)
    assert done.returncode == 2 and "a cluster has a head and 1 to 249 workers" in done.stderr
    assert not (tmp_path / "here").exists()


def test_a_folder_with_other_files_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "head").mkdir()
    (tmp_path / "head" / "thesis.txt").touch()
    done = dualsweep_here("cluster", "up", "--state", ".", folder=tmp_path)
    assert done.returncode == 2 and "must be empty, or a cluster's, but got other files in" in done.stderr
    assert (tmp_path / "head" / "thesis.txt").exists() and not (tmp_path / "token").exists()


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """The folder of a cluster of plain nodes, all of which are this process; one is dead."""
    here = Started.of(psutil.Process())
    nodes = (Node("head", "127.0.0.1", 0, here), Node("worker-1", "127.0.0.1", 1, here), Node("worker-2", "127.0.0.1", 1))
    why = "unshare: Operation not permitted"
    Cluster(tmp_path, "ab12", "none", "127.0.0.1:6379", "http://127.0.0.1:8265", tmp_path / "tmp", nodes, why_plain=why).save()
    return tmp_path


def test_status_shows_each_node(plain: Path) -> None:
    done = dualsweep_here("cluster", "status", "--state", ".", folder=plain)
    assert done.returncode == 0, done.stderr
    words = [line.split() for line in done.stdout.splitlines()[:4]]
    assert words[1:] == [[f"{name}", state, "127.0.0.1", cpus] for name, state, cpus in
                         (("head", "running", "0"), ("worker-1", "running", "1"), ("worker-2", "dead", "1"))]  # fmt: skip


def test_what_cannot_be_cut_is_refused_with_the_way_out(plain: Path) -> None:
    for word in ("cut", "heal"):
        done = dualsweep_here("cluster", word, "worker-1", "--state", ".", folder=plain)
        assert done.returncode == 2 and "only nodes with a network of their own can be cut off" in done.stderr
        assert "(unshare: Operation not permitted); `dualsweep cluster kill worker-1`, or" in done.stderr


def test_another_size_of_a_cluster_that_is_up_an_unknown_node_and_a_dead_one(plain: Path) -> None:
    other = dualsweep_here("cluster", "up", "--nodes", "4", "--state", ".", folder=plain)
    assert (
        other.returncode == 2
        and "3 nodes with 1 CPUs each, and --nodes 4 --cpus 1; `dualsweep cluster down` first" in other.stderr
    )
    unknown = dualsweep_here("cluster", "kill", "worker-7", "--state", ".", folder=plain)
    assert unknown.returncode == 2 and "name one of head, worker-1, worker-2" in unknown.stderr
    dead = dualsweep_here("cluster", "exec", "--on", "worker-2", "--state", ".", "ls", folder=plain)
    assert dead.returncode == 2 and "worker-2, which is dead; `dualsweep cluster start worker-2`" in dead.stderr
    missing = dualsweep_here("cluster", "exec", "--state", ".", "no-such-program", folder=plain)
    assert missing.returncode == 2 and "no-such-program: No such file" in missing.stderr
