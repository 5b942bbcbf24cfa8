"""One sweep in which one process is killed, and how it came out beside one that was left alone."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from tests.cluster.live.conftest import free_ports
from tests.faults.beside import head, home, mlflow_on_postgresql, mlflow_server, out_of_service
from tests.faults.parting import PARTINGS, cluster, part
from tests.faults.problem import Outcome, put_sweep
from tests.faults.spoiling import small_disk, spoil_newest, without_room
from tests.faults.victims import BESIDE, DAMAGED, DATABASE, FULL_DISK, SAME_COMMAND, strike, victim
from tests.pipeline.conftest import ROOT, running_in

#: A sweep takes at most so many seconds, each time that its command is given.
BOUND = 300.0
#: So many seconds after a driver's end nothing of it may run.
GONE = 10.0
#: For so many seconds a database answers nothing, or a disk has no room.
DEPRIVED = 10.0
TRIALS, STEPS = 2, 200
#: Why a sweep did not survive that was not disturbed at all.
TOO_LATE = "it was over before"


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
    workers: int = 1

    @property
    def whole(self) -> bool:
        """Whether it survived, and nothing was lost, doubled or left."""
        return self.survived and not (self.lost or self.doubled or self.left)


class Sweep:
    """A sweep in a folder of its own: its command, which may be given again, and its process."""

    def __init__(
        self,
        folder: Path,
        hosting: str,
        workers: int = 1,
        store: str = "",
        address: str = "local",
        steps: int = STEPS,
        nodes: Path | None = None,
    ) -> None:
        self.folder, self.store = folder, store or f"sqlite:///{folder}/mlflow.db"
        words = [sys.executable, "-m", "dualsweep"]
        #: On the head of the cluster whose state lies in `nodes`, where there is one.
        self.command = [*words, "cluster", "exec", "--state", str(nodes), "--", *words] if nodes else words
        self.command += ["sweep", "sweep.yaml", *(() if nodes else ("--address", address))]
        put_sweep(folder, hosting, workers, TRIALS, steps, self.store)
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

    def deliver(self) -> None:
        """Gives the command that delivers what MLflow could not take, as the sweep's last words say."""
        words = [sys.executable, "-m", "dualsweep", "sync", "runs/tiny-sweep"]
        subprocess.run(words, cwd=self.folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True)

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


def undisturbed(folder: Path, hosting: str, workers: int) -> tuple[Outcome, float]:
    """The outcome of the sweep that is left alone, and the seconds from its first training step to its last."""
    sweep = Sweep(folder, hosting, workers)
    sweep.start()
    until(lambda: bool(sweep.steps()), sweep)
    began = time.monotonic()
    until(lambda: len(sweep.steps()) >= TRIALS * STEPS * workers, sweep)
    lasts = time.monotonic() - began
    until(lambda: False, sweep)
    assert sweep.process is not None and sweep.process.returncode == 0, (folder / "output.txt").read_text()
    return Outcome.of(folder, sweep.store), lasts


def disturbed(folder: Path, hosting: str, workers: int, kind: str, seed: int, reference: Outcome, lasts: float) -> Row:
    """Disturbs a sweep in that way at a random moment of the `lasts` seconds that training takes, a function of the seed."""
    chance = random.Random(f"{seed} {kind} {hosting}")
    moment = chance.uniform(0.0, 0.8) * lasts
    row = Row(kind, hosting, seed, False, 0, 0, 0, 0.0, 1, workers=workers)
    folder.parent.mkdir(exist_ok=True)
    with contextlib.ExitStack() as there:
        scene = scene_of(kind, folder, chance, there)
        sweep = Sweep(folder, hosting, workers, scene.store, scene.address, nodes=scene.nodes)
        try:
            sweep.start()
            recovery = scene.disturb(sweep, moment)
            return replace(_judged(sweep, kind, reference, row), recovery=recovery)
        except AssertionError as error:
            return replace(row, why=str(error), commands=sweep.commands, left=len(sweep.left()) if sweep.over() else 0)
        finally:
            sweep.end()


@dataclass(frozen=True)
class Scene:
    """What a sweep of one kind of disturbance runs in, and what is done to it `moment` seconds after its first training step.

    `disturb` returns the seconds from then until it trains again.
    """

    disturb: Callable[[Sweep, float], float]
    store: str = ""
    address: str = "local"
    nodes: Path | None = None


def scene_of(kind: str, folder: Path, chance: random.Random, there: contextlib.ExitStack) -> Scene:
    """Starts what runs beside the sweep in `folder`, for as long as `there` lasts."""
    if kind in PARTINGS:
        nodes = folder.parent / f"{folder.name}-nodes"
        there.enter_context(cluster(nodes))
        return Scene(lambda sweep, moment: parted(sweep, kind, moment, nodes), nodes=nodes)
    [port] = free_ports(1)
    place, store = folder.parent / f"{folder.name}-mlflow", f"http://127.0.0.1:{port}"
    if kind == DATABASE:
        database = there.enter_context(mlflow_on_postgresql(place, port))
        return Scene(lambda sweep, moment: deprived(sweep, moment, out_of_service(database)), store)
    if kind == FULL_DISK:
        there.enter_context(small_disk(folder / "runs"))
        return Scene(lambda sweep, moment: deprived(sweep, moment, without_room(folder / "runs")))
    if kind == DAMAGED:
        trials = folder / "runs/tiny-sweep/trials"
        return Scene(lambda sweep, moment: killed(sweep, kind, moment, before=lambda: spoil_newest(trials, chance)))
    if kind not in BESIDE:
        return Scene(lambda sweep, moment: killed(sweep, kind, moment))
    begin = functools.partial(mlflow_server, place, port) if kind == "mlflow" else functools.partial(head, folder, port)
    first = there.enter_context(contextlib.ExitStack())
    others = first.enter_context(begin())

    def begun_again(sweep: Sweep, moment: float) -> float:
        recovery = killed(sweep, kind, moment, others)
        first.close()
        there.enter_context(begin())
        return recovery

    return Scene(begun_again, store) if kind == "mlflow" else Scene(begun_again, address=f"127.0.0.1:{port}")


def killed(
    sweep: Sweep, kind: str, moment: float, others: Sequence[psutil.Process] = (), before: Callable[[], object] = lambda: None
) -> float:
    """Kills a process of that kind `moment` seconds after steps were seen; the seconds until another process trains.

    A driver that was killed is started again, once nothing of it is left; after the death of its head a sweep has ended.
    `before` is called last before it.
    """
    until(lambda: bool(sweep.steps()), sweep)
    time.sleep(moment)
    assert sweep.process is not None
    process = None
    while process is None and not sweep.over():
        process = victim(kind, sweep.folder, sweep.process.pid, others[0].pid if others else None)
        time.sleep(0.05)
    assert process is not None, TOO_LATE
    before()
    known, began = set(sweep.steps()), time.monotonic()
    for each in (process, *others[1:]):
        strike(kind, each)
    if kind == "driver":
        sweep.process.wait()
        assert not (left := sweep.left()), f"left behind: {[each.name() for each in left]}"
        sweep.start()
    until(lambda: kind == "mlflow" or bool(set(sweep.steps()) - known), sweep)
    return time.monotonic() - began


def deprived(sweep: Sweep, moment: float, without: contextlib.AbstractContextManager[object]) -> float:
    """Takes something from it for `DEPRIVED` seconds, `moment` seconds after steps were seen; those until it trains again."""

    def lapse() -> None:
        with without:
            time.sleep(DEPRIVED)

    return _interrupted(sweep, moment, lapse)


def parted(sweep: Sweep, kind: str, moment: float, nodes: Path) -> float:
    """Does it `moment` seconds after steps were seen, and undoes it; the seconds from then until there is another step."""
    return _interrupted(sweep, moment, lambda: part(kind, nodes, sweep.steps()[-1].partition(":")[0]))


def _interrupted(sweep: Sweep, moment: float, lapse: Callable[[], None]) -> float:
    """Waits for what passes `moment` seconds after steps were seen; the seconds from then until there is another step."""
    until(lambda: bool(sweep.steps()), sweep)
    time.sleep(moment)
    assert not sweep.over(), TOO_LATE
    lapse()
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
    if "were not delivered to MLflow" in said:
        sweep.deliver()
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
