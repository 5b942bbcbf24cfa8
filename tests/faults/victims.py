"""What can be killed of a running sweep, by kind, and how it is found."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import psutil

from tests.faults.parting import CUT_HEAD, PARTINGS
from tests.pipeline.conftest import ray_process

#: The classes of Ray's actors, as their processes' titles tell them.
ACTORS = {
    "worker": "RayTrainWorker",
    "controller": "TrainController",
    "coordinator": "SlotCoordinator",
    "trial": "ResourceTrainable",
}
#: Children of the driver.
SERVERS = {"raylet": "raylet", "gcs": "gcs_server"}
#: A worker that is stopped, and never goes on, is a kind for itself.
STOPPED = "stopped-worker"
#: A worker is killed when the newest checkpoint has just been damaged.
DAMAGED = "damaged-checkpoint"
#: Beside the sweep: an MLflow server, and the head (its GCS) of a cluster that the sweep joins.
BESIDE = ("mlflow", "head")
#: The database of an MLflow server, and the room on the disk on which the results lie: gone for some seconds.
DATABASE, FULL_DISK = "postgresql", "full-disk"
KINDS = ("driver", *ACTORS, *SERVERS, *BESIDE, STOPPED, DAMAGED, DATABASE, FULL_DISK, *PARTINGS)
#: After these the same command may be given again; a sweep of which another process dies goes on by itself.
SAME_COMMAND = ("driver", "gcs", *BESIDE, CUT_HEAD)


def victim(kind: str, folder: Path, driver: int, other: int | None = None) -> psutil.Process | None:
    """The process of that kind of the sweep in `folder` whose driver has this id; None where there is none at the moment."""
    with contextlib.suppress(psutil.Error):
        if kind in ACTORS:
            return ray_process(folder, ACTORS[kind])
        if kind in (STOPPED, DAMAGED):
            return ray_process(folder, ACTORS["worker"])
        if kind in SERVERS:
            return next(filter(lambda child: program(child) == SERVERS[kind], psutil.Process(driver).children()), None)
        return psutil.Process(driver if kind == "driver" else other)
    return None


def program(process: psutil.Process) -> str:
    """The name of a process's program; empty of one that has ended and is not yet waited for, as a lost cluster's are."""
    with contextlib.suppress(psutil.Error):
        return Path((process.cmdline() or [""])[0]).name
    return ""


def strike(kind: str, process: psutil.Process) -> None:
    """SIGKILL; SIGSTOP for the kind that is stopped."""
    process.send_signal(signal.SIGSTOP if kind == STOPPED else signal.SIGKILL)
