"""Real Ray, real MLflow, the real command. One small problem that all these tests train."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import pytest
import torch
import yaml

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.worker import run_worker
from dualsweep.trainer.recipe.recipe import Recipe
from tests.sweeps.here import dualsweep_here

ROOT = Path(__file__).parent.parent.parent
RECIPE = {
    "name": "tiny",
    "formulation": "constrained_training",
    "model": {"unet": {"channels": [8, 16]}},
    "schedule": {"timesteps": 50},
    "data": {"source": "digits", "keep": {4: 0.1, 5: 0.1}},
    "constraints": [
        {"name": "four", "data": {"classes": [4]}, "at_most": 0.3},
        {"name": "five", "data": {"classes": [5]}, "at_most": 0.02, "relative_to": "objective"},
    ],
    "dual": {"step_size": 0.05},
    "train": {"steps": 60, "batch_size": 16, "lr": 2e-3, "log_every": 5},
    "evaluation": {"samples": 16, "sample_steps": 4, "loss_draws": 128, "judge": {"epochs": 1}, "grid": 16},
    "checkpoint": {"every": 20},
}
SWEEP = {
    "name": "tiny-sweep",
    "recipe": "recipe.yaml",
    "search": {"dual.step_size": {"log_uniform": [0.01, 0.2]}, "constraints.*.at_most": {"uniform": [0.02, 0.6]}},
    "trials": 3,
    "sampler": {"name": "random", "seed": 1},
    "mlflow": {"tracking_uri": "sqlite:///mlflow.db"},
}
#: A user's own parts. Training steps are noted in `calls`, one line with the process's id each, and take longer while the
#: file `slow` is there, so that tests can interrupt a run where they want to.
PARTS = """
import os, time
from pathlib import Path
from typing import Any
import numpy, torch

class Small(torch.nn.Module):
    def __init__(self, stride=1):
        super().__init__()
        self.layer = torch.nn.Conv2d(2, 1, 3, stride, padding=1)

    def forward(self, x, t):
        if self.training:
            with Path("calls").open("a") as calls:
                calls.write(f"{os.getpid()}\\n")
            time.sleep(0.15 if Path("slow").exists() else 0)
        return self.layer(torch.cat([x, (t / 50).view(-1, 1, 1, 1).expand_as(x)], 1))

def good():
    return Small()

def halves():
    return Small(stride=2)

class Picky(Small):
    def forward(self, x, t):
        if x.any():
            raise ValueError("this model takes zeros only")
        return super().forward(x, t)

class Broken:
    "Too large to be read before the run; every seventh item has a NaN."
    def __len__(self):
        return 300_000
    def __getitem__(self, row):
        return torch.full((1, 32, 32), float("nan") if row % 7 == 3 else row / 300_000)
"""
#: What a user may have called so, and what nothing of ours may ever import in the place of a room.
_THEIRS = "raise AssertionError('a module of the user that nobody asked for was imported')\n"
NAMED_LIKE_ROOMS = {
    "trainer.py": _THEIRS,
    "sweeps.py": _THEIRS,
    "cluster.py": _THEIRS,
    "analysis/metrics.py": "def brightness(evidence):\n    return {'brightness': float(evidence.samples.mean())}\n",
}


def put(folder: Path, files: Mapping[str, str]) -> None:
    """Writes the files, by their paths below `folder`."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@contextlib.contextmanager
def working_directory(folder: Path) -> Iterator[Path]:
    """A working directory with `recipe.yaml`, `sweep.yaml`, the module `parts` and modules named like our rooms.

    What still runs in it is killed at the end.
    """
    put(folder, {"recipe.yaml": yaml.safe_dump(RECIPE), "sweep.yaml": yaml.safe_dump(SWEEP), "parts.py": PARTS})
    put(folder, NAMED_LIKE_ROOMS)
    yield folder
    for process in running_in(folder):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """One such for each test."""
    with working_directory(tmp_path) as made:
        yield made


def trained_here(recipe: Recipe, output: Path) -> list[dict[str, Any]]:
    """The points of a recipe trained in this very process, where nothing can be killed."""
    torch.set_num_threads(1)  # as a worker of one CPU has
    host = LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(str(output / "checkpoints")))
    run_worker(recipe, host, str(output), str(output / "judges"))
    return [point for report in host.reports for point in report["points"]]


def without_time(metrics: Mapping[str, float]) -> dict[str, float]:
    """What a training's metrics are whenever and wherever it runs."""
    return {name: value for name, value in metrics.items() if not name.startswith("system/")}


def running_in(folder: Path) -> list[psutil.Process]:
    """The processes whose working directory is `folder`: the command's, and all that Ray has started for it."""
    processes = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            # This process is none of them, wherever a test has put it: what is found here may be killed.
            if process.pid != os.getpid() and process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                processes.append(process)
    return processes


def ray_process(folder: Path, title: str) -> psutil.Process | None:
    """The newest actor's process of that class, e.g. `RayTrainWorker`."""
    titled = []
    for process in running_in(folder):
        with contextlib.suppress(psutil.Error):  # it may end between one question and the next
            if f"ray::{title}" in " ".join(process.cmdline()[:1]):
                titled.append((process.create_time(), process.pid, process))
    return max(titled)[-1] if titled else None


def assert_nothing_left(folder: Path, seconds: float = 20) -> None:
    """All processes of a command that has ended are gone, or go soon."""
    end = time.monotonic() + seconds
    while left := running_in(folder):
        assert time.monotonic() < end, [each.as_dict(["cmdline"], ad_value="gone") for each in left]
        time.sleep(0.2)


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Starts `dualsweep` as a user would, in `folder`, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "dualsweep", *arguments], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "COLUMNS": "160", **environment}, start_new_session=True,
    )  # fmt: skip


def run(folder: Path, *arguments: str, code: int | tuple[int, ...] = 0, **environment: str) -> str:
    """Runs `dualsweep` to its end; its output."""
    process = start(folder, *arguments, **environment)
    output, _ = process.communicate(timeout=900)
    assert process.returncode in (code if isinstance(code, tuple) else (code,)), output
    return output


def here(folder: Path, *arguments: str, code: int = 0, environment: Mapping[str, str] | None = None) -> str:
    """As `run`, in this process: for what trains nothing, and so starts no Ray."""
    with mock.patch.dict(os.environ, {"COLUMNS": "160", **(environment or {})}):
        done = dualsweep_here(*arguments, folder=folder)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str], seconds: float = 200) -> None:
    """Waits until something has happened; fails with the output when the command ends first."""
    end = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise AssertionError(f"it did not happen; the command said:\n{process.communicate()[0]}")
        time.sleep(0.1)


def interrupt(process: subprocess.Popen[str]) -> str:
    """Ctrl-C, as a terminal sends it: to every process of the foreground group."""
    os.killpg(process.pid, signal.SIGINT)
    return process.communicate(timeout=600)[0]
