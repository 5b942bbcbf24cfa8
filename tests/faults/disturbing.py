"""One sweep in which one process is killed, and how it came out beside one that was left alone."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from tests.cluster.live.conftest import free_ports
from tests.faults.parting import PARTINGS, cluster, part
from tests.faults.problem import Outcome, put_sweep
from tests.faults.victims import BESIDE, SAME_COMMAND, program, strike, victim
from tests.pipeline.conftest import ROOT, running_in

#: A sweep takes at most so many seconds, each time that its command is given.
BOUND = 300.0
#: So many seconds after a driver's end nothing of it may run.
GONE = 10.0
TRIALS, STEPS = 2, 200


@dataclass(frozen=True)
class Row:
    """What became of one sweep. `recovery` are the seconds from the kill to the first training step of another process."""

    kind: str
    hosting: str
    seed: int
    survived: bool
    lost: int
    doubled: int
    left: int
    recovery: float
    commands: int
    why: str = ""


class Sweep:
    """A sweep in a folder of its own: its command, which may be given again, and its process."""

    def __init__(
        self, folder: Path, hosting: str, store: str = "", address: str = "local", steps: int = STEPS, nodes: Path | None = None
    ) -> None:
        self.folder, self.store = folder, store or f"sqlite:///{folder}/mlflow.db"
        words = [sys.executable, "-m", "dualsweep"]
        #: On the head of the cluster whose state lies in `nodes`, where there is one.
        self.command = [*words, "cluster", "exec", "--state", str(nodes), "--", *words] if nodes else words
        self.command += ["sweep", "sweep.yaml", *(() if nodes else ("--address", address))]
        put_sweep(folder, hosting, TRIALS, steps, self.store)
        self.process: subprocess.Popen[bytes] | None = None
        self.commands = 0

    def start(self) -> None:
        """Gives the command; its output goes to `output.txt`."""
        self.commands += 1
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "15"}
        environment["HOME"] = str(home(self.folder))
        with (self.folder / "output.txt").open("ab") as output:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                env=environment,
            )  # fmt: skip

    def steps(self) -> list[str]:
        """The node and the process of each training step so far, NODE:PROCESS."""
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / "calls").read_text().split()
        return []

    def over(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def left(self) -> list[psutil.Process]:
        """What runs although the driver has ended, once it had its seconds to go."""
        end = time.monotonic() + GONE
        while (there := running_in(self.folder)) and time.monotonic() < end:
            time.sleep(0.1)
        return there

    def end(self) -> None:
        """Kills what runs still."""
        for each in running_in(self.folder):
            with contextlib.suppress(psutil.Error):
                each.kill()
        if self.process is not None:
            self.process.wait()


def home(folder: Path) -> Path:
    """A home folder beside a sweep's, with a token of Ray's."""
    made = folder.parent / f"{folder.name}-home"
    (made / ".ray").mkdir(parents=True, exist_ok=True)
    (made / ".ray" / "auth_token").write_text("0123456789abcdef" * 4)
    return made


@contextlib.contextmanager
def head(folder: Path, port: int) -> Iterator[psutil.Process]:
    """The head of a cluster of two CPUs, for the sweep in `folder` to join; its GCS."""
    place = folder.parent / f"{folder.name}-head"
    place.mkdir(exist_ok=True)
    ports = [f"--port={port}", "--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={free_ports(1)[0]}"]
    command = [
        str(Path(sys.executable).parent / "ray"),
        "start",
        "--head",
        "--num-cpus=2",
        "--block",
        "--disable-usage-stats",
        *ports,
    ]
    environment = {**os.environ, "HOME": str(home(folder)), "RAY_AUTH_MODE": "token", "PYTHONPATH": str(ROOT)}
    with (place / "head.txt").open("ab") as log:
        started = subprocess.Popen(command, cwd=place, stdout=log, stderr=log, start_new_session=True, env=environment)
    try:
        while "Ray runtime started" not in (place / "head.txt").read_text():
            assert started.poll() is None, (place / "head.txt").read_text()
            time.sleep(0.2)
        yield next(process for process in running_in(place) if program(process) == "gcs_server")
    finally:
        for each in running_in(place):
            with contextlib.suppress(psutil.Error):
                each.kill()
        started.wait()
        (place / "head.txt").unlink()


@contextlib.contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[list[psutil.Process]]:
    """An MLflow server on an SQLite store of its own; the processes that make it up."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/served.db",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with (folder / "server.txt").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True, env=environment)
    try:
        while not _answers(port):
            time.sleep(0.2)
        yield [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    finally:
        for each in running_in(folder):
            with contextlib.suppress(psutil.Error):
                each.kill()
        process.wait()


def _answers(port: int) -> bool:
    import urllib.request

    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
        return bool(answer.status == 200)
    return False


def undisturbed(folder: Path, hosting: str) -> tuple[Outcome, float]:
    """The outcome of the sweep that is left alone, and the seconds from its first training step to its last."""
    sweep = Sweep(folder, hosting)
    sweep.start()
    until(lambda: bool(sweep.steps()), sweep)
    began = time.monotonic()
    until(lambda: len(sweep.steps()) >= TRIALS * STEPS, sweep)
    lasts = time.monotonic() - began
    until(lambda: False, sweep)
    assert sweep.process is not None and sweep.process.returncode == 0, (folder / "output.txt").read_text()
    return Outcome.of(folder, sweep.store), lasts


def disturbed(folder: Path, hosting: str, kind: str, seed: int, reference: Outcome, lasts: float) -> Row:
    """Kills a process of that kind at a random moment of the `lasts` seconds that training takes, a function of the seed."""
    moment = random.Random(f"{seed} {kind} {hosting}").uniform(0.0, 0.8) * lasts
    [port] = free_ports(1)
    store, address = f"http://127.0.0.1:{port}" if kind == "mlflow" else "", f"127.0.0.1:{port}" if kind == "head" else "local"
    folder.parent.mkdir(exist_ok=True)
    with contextlib.ExitStack() as there:
        others = _others(kind, folder, port, there)
        nodes = folder.parent / f"{folder.name}-nodes" if kind in PARTINGS else None
        if nodes is not None:
            there.enter_context(cluster(nodes))
        sweep = Sweep(folder, hosting, store, address, nodes=nodes)
        row = Row(kind, hosting, seed, False, 0, 0, 0, 0.0, 1)
        try:
            sweep.start()
            recovery = parted(sweep, kind, moment, nodes) if nodes else killed(sweep, kind, moment, others)
            if kind in BESIDE:
                there.pop_all().close()
                _others(kind, folder, port, there)
            return replace(_judged(sweep, kind, reference, row), recovery=recovery)
        except AssertionError as error:
            return replace(row, why=str(error), commands=sweep.commands, left=len(sweep.left()) if sweep.over() else 0)
        finally:
            sweep.end()


def _others(kind: str, folder: Path, port: int, there: contextlib.ExitStack) -> list[psutil.Process]:
    """The processes beside the sweep's of which one kind is: an MLflow server, or the head of the cluster that it joins."""
    if kind == "mlflow":
        return there.enter_context(mlflow_server(folder.parent / f"{folder.name}-mlflow", port))
    return [there.enter_context(head(folder, port))] if kind == "head" else []


def killed(sweep: Sweep, kind: str, moment: float, others: Sequence[psutil.Process] = ()) -> float:
    """Kills a process of that kind `moment` seconds after steps were seen; the seconds until another process trains.

    A driver that was killed is started again, once nothing of it is left; after the death of its head a sweep has ended.
    """
    until(lambda: bool(sweep.steps()), sweep)
    time.sleep(moment)
    assert sweep.process is not None
    process = None
    while process is None and not sweep.over():
        process = victim(kind, sweep.folder, sweep.process.pid, others[0].pid if others else None)
        time.sleep(0.05)
    assert process is not None, "it was over before"
    known, began = set(sweep.steps()), time.monotonic()
    for each in (process, *others[1:]):
        strike(kind, each)
    if kind == "driver":
        sweep.process.wait()
        assert not (left := sweep.left()), f"left behind: {[each.name() for each in left]}"
        sweep.start()
    until(lambda: kind == "mlflow" or bool(set(sweep.steps()) - known), sweep)
    return time.monotonic() - began


def parted(sweep: Sweep, kind: str, moment: float, nodes: Path) -> float:
    """Does it `moment` seconds after steps were seen, and undoes it; the seconds from then until there is another step."""
    until(lambda: bool(sweep.steps()), sweep)
    time.sleep(moment)
    assert not sweep.over(), "it was over before"
    part(kind, nodes, sweep.steps()[-1].partition(":")[0])
    before, began = len(sweep.steps()), time.monotonic()
    until(lambda: len(sweep.steps()) > before, sweep)
    return time.monotonic() - began


def _judged(sweep: Sweep, kind: str, reference: Outcome, row: Row) -> Row:
    """Waits for the end, gives the command again where that is allowed, and compares."""
    assert sweep.process is not None
    until(lambda: False, sweep)
    if sweep.process.returncode != 0 and kind in SAME_COMMAND:
        assert sweep.process.returncode == 130, f"exit code {sweep.process.returncode}: {_last(sweep)}"
        assert not (left := sweep.left()), f"left behind: {[each.name() for each in left]}"
        sweep.start()
        until(lambda: False, sweep)
    said = (sweep.folder / "output.txt").read_text()
    left = sweep.left()
    outcome = Outcome.of(sweep.folder, sweep.store)
    survived = sweep.process.returncode == 0 and not left and outcome.same_training(reference)
    why = "" if survived else f"exit code {sweep.process.returncode}: {said.strip().splitlines()[-1][:200]}"
    lost, doubled = outcome.lost(reference), outcome.doubled(reference)
    return replace(row, survived=survived, lost=lost, doubled=doubled, left=len(left), commands=sweep.commands, why=why)


def until(happens: Callable[[], bool], sweep: Sweep) -> None:
    """Waits until something has happened or the command has ended, which is told where it came first."""
    end = time.monotonic() + BOUND
    while not happens():
        if sweep.over():
            return
        assert time.monotonic() < end, f"still waiting after {BOUND:g} s: {_last(sweep)}"
        time.sleep(0.05)


def _last(sweep: Sweep) -> str:
    return ((sweep.folder / "output.txt").read_text().strip().splitlines() or ["it said nothing"])[-1][:200]
