"""Nodes without Ray: what their links, their namespaces and their ends are like."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from dualsweep.cluster.testbed import namespaces, plain
from dualsweep.cluster.testbed.init import ENDED
from dualsweep.cluster.testbed.layout import MARK, Cluster, Node, saved

#: What runs on the nodes: it answers at port 7000, and its own child is in a session of its own.
ANSWERS = """
import socket, subprocess
subprocess.Popen(["sleep", "1000"], start_new_session=True)
server = socket.create_server(("", 7000))
while True:
    server.accept()[0].sendall(socket.gethostname().encode())
"""
ASKS = "import socket, sys; print(socket.create_connection((sys.argv[1], 7000), timeout=1).recv(99).decode())"
MARKED = secrets.token_hex(8)


def until(happens: Callable[[], object], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, f"it did not happen within {seconds:g} s"
        time.sleep(0.05)


def begun(cluster: Cluster, name: str, code: str) -> Cluster:
    node = cluster.node(name)
    ground = plain if cluster.isolation == "none" else namespaces
    environment = {**os.environ, MARK: f"{MARKED}/{name}"}
    started, process = ground.start(cluster, node, [sys.executable, "-c", code], environment)
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.close()
    return cluster.with_node(replace(node, init=started))


def left() -> list[psutil.Process]:
    return list(plain.marked(MARKED))


def planned(folder: Path, isolation: str) -> Cluster:
    nodes = tuple(Node(name, f"10.77.0.{number}", 1) for number, name in enumerate(("head", "worker-1", "worker-2"), 1))
    return Cluster(folder, MARKED, isolation, "", "", folder / "shared", nodes)  # type: ignore[arg-type]  # one of its words


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    kind, why = namespaces.isolation()
    if kind == "none":
        pytest.skip(why)
    network, process = namespaces.hold(planned(tmp_path, kind), {**os.environ, MARK: MARKED})
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.close()
    made = replace(planned(tmp_path, kind), network=network)
    namespaces.bridge(made)
    for name in ("head", "worker-1"):
        made = begun(made, name, ANSWERS)
    yield made
    namespaces.kill(network)
    until(lambda: not left())


def on(cluster: Cluster, name: str, command: list[str]) -> subprocess.CompletedProcess[str]:
    init = cluster.node(name).init
    assert init is not None
    words = namespaces.entering(cluster, init, "net,uts,pid,mnt", command)
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=cluster.folder)


def heard(cluster: Cluster, asking: str, address: str) -> str:
    return on(cluster, asking, [sys.executable, "-c", ASKS, address]).stdout.strip()


def test_a_link_that_is_cut_carries_nothing_and_one_that_heals_carries_again(cluster: Cluster) -> None:
    until(lambda: heard(cluster, "head", "10.77.0.2") == "worker-1")
    namespaces.cut(cluster, cluster.node("worker-1"))
    assert heard(cluster, "head", "10.77.0.2") == "" and heard(cluster, "worker-1", "10.77.0.1") == ""
    assert heard(cluster, "worker-1", "127.0.0.1") == "worker-1", "what is cut off runs on"
    namespaces.heal(cluster, cluster.node("worker-1"))
    until(lambda: heard(cluster, "worker-1", "10.77.0.1") == "head")


def test_a_node_that_is_killed_is_gone_whole_and_can_be_started_again(cluster: Cluster) -> None:
    until(lambda: heard(cluster, "head", "10.77.0.2") == "worker-1")
    node = cluster.node("worker-1")
    assert node.init is not None and node.state == "running"
    namespaces.kill(node.init)
    assert node.state == "dead" and heard(cluster, "head", "10.77.0.2") == ""
    assert not list(plain.marked(f"{MARKED}/worker-1")), "a child in a session of its own too"
    cluster = begun(cluster, "worker-1", ANSWERS)
    until(lambda: heard(cluster, "head", "10.77.0.2") == "worker-1")


def test_nothing_is_left_ten_seconds_after_the_network_s_process_was_killed(cluster: Cluster) -> None:
    until(lambda: heard(cluster, "head", "10.77.0.2") == "worker-1")
    assert cluster.network is not None and len(left()) > 4
    os.kill(cluster.network.pid, signal.SIGKILL)
    until(lambda: not left(), seconds=10)
    assert not cluster.up


def test_each_node_sees_its_own_processes_and_files_in_the_shared_place_and_the_machine_s_elsewhere(cluster: Cluster) -> None:
    (cluster.folder / "shared" / "of the machine").touch()
    wrote = on(cluster, "head", ["sh", "-c", "ls shared; touch shared/own; pwd; cat /proc/1/cmdline | tr '\\0' ' '"])
    assert wrote.stdout.splitlines()[0] == str(cluster.folder) and "init.py" in wrote.stdout
    assert (cluster.folder / "head" / "own").exists() and not (cluster.folder / "worker-1" / "own").exists()


def test_what_is_run_on_a_node_passes_signals_and_its_exit_code_on(cluster: Cluster) -> None:
    assert on(cluster, "head", ["sh", "-c", "exit 7"]).returncode == 7
    missing = on(cluster, "head", ["no-such-program"])
    assert missing.returncode == 127 and missing.stderr == "dualsweep: No such file or directory: no-such-program\n"
    init = cluster.node("head").init
    assert init is not None
    tidies = "try: print(1, flush=True); time.sleep(60)\nexcept KeyboardInterrupt: time.sleep(0.5); raise SystemExit(9)"
    words = namespaces.entering(cluster, init, "net,uts,pid,mnt", [sys.executable, "-c", f"import time\n{tidies}"])
    with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None and process.stdout.readline() == b"1\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(20) == 9, "it ends when the command has"
    with subprocess.Popen([*words[:-1], "import time; print(1, flush=True); time.sleep(61)"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"1\n"
        process.terminate()
        assert process.wait(20) == 128 + signal.SIGTERM


def test_what_has_ended_by_itself_is_started_again_on_either_ground(cluster: Cluster) -> None:
    for ground in (cluster, replace(cluster, isolation="none")):
        ground = begun(ground, "worker-2", "raise SystemExit(3)")
        until(lambda: cluster.log("worker-2").read_text().count(f"{ENDED} 3") == 2)
        plain.kill(f"{MARKED}/worker-2", ground.node("worker-2").init)
        cluster.log("worker-2").unlink()


def test_a_node_of_which_nobody_took_note_ends_by_itself(tmp_path: Path) -> None:
    environment = {**os.environ, MARK: f"{MARKED}/head"}
    cluster = planned(tmp_path, "none")
    started, process = plain.start(cluster, cluster.node("head"), ["sleep", "1000"], environment)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(10) == 0 and started.running() is None and saved(tmp_path) is None


def test_a_plain_node_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    cluster = begun(planned(tmp_path, "none"), "head", ANSWERS)
    until(lambda: len(left()) == 3)
    plain.kill(f"{MARKED}/head", cluster.node("head").init)
    assert not left()
