"""Trainings and sweeps on nodes that join, are told to end, and are gone: by the command, on nodes as `ray start` makes them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from dualsweep.trainer.recipe.recipe import Recipe
from tests.cluster.live.conftest import TOKEN, end, environment, free_ports, wait_for
from tests.pipeline.conftest import RECIPE, trained_here

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.dear]

#: A model whose steps take a while where the folder has `slow`, and are noted in `calls`.
PARTS = """
import os, time
from pathlib import Path
import torch

HERE = Path(__file__).parent

class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x, t):
        if self.training and (HERE / "slow").exists():
            with (HERE / "calls").open("a") as calls:
                calls.write(f"{os.getpid()}\\n")
            time.sleep(0.15)
        return self.layer(torch.cat([x, (t / 50).view(-1, 1, 1, 1).expand_as(x)], 1))
"""
#: No regular checkpoint before the end: what is not saved at a word is done again from the first step.
ELASTIC: dict[str, Any] = {
    **RECIPE,
    "model": {"call": "elastic_parts:Small"},
    "train": {"steps": 120, "batch_size": 17, "lr": 2e-3, "log_every": 1},
    "evaluation": {"samples": 0, "loss_draws": 16},
    "checkpoint": {"every": 1000},
    "resources": {"workers": [1, 2]},
}
SWEEP: dict[str, Any] = {
    "name": "joined",
    "recipe": "recipe.yaml",
    "search": {"dual.step_size": {"log_uniform": [0.005, 0.02]}},
    "trials": 6,
    "sampler": {"name": "random", "seed": 1},
    "mlflow": {"tracking_uri": "sqlite:///mlflow.db"},
}


class Machines:
    """A head of one CPU, and more nodes of one, in whose folder commands run."""

    def __init__(self, folder: Path, home: Path, temporary: Path) -> None:
        self.folder, self._home, self._started = folder, home, dict[str, subprocess.Popen[bytes]]()
        gcs, jobs, agent, metrics = free_ports(4)
        ports = [f"--port={gcs}", f"--dashboard-port={jobs}", f"--dashboard-agent-listen-port={agent}"]
        ports += ["--min-worker-port=0", "--max-worker-port=0", "--dashboard-host=127.0.0.1", f"--metrics-export-port={metrics}"]
        self.address = f"127.0.0.1:{gcs}"
        self._environment = {**environment(home), "RAY_AUTH_MODE": "token", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder)}
        self._start("--head", *ports, f"--temp-dir={temporary}")

    def node(self) -> str:
        """Starts another node; the mark of its processes."""
        return self._start(f"--address={self.address}")

    def _start(self, *options: str) -> str:
        mark = f"DUALSWEEP_TEST_NODE={uuid.uuid4().hex}"
        log = self._home / f"{mark[-8:]}.log"
        command = [
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            *options,
            "--num-cpus=1",
            "--block",
            "--disable-usage-stats",
        ]
        with log.open("w") as sink:
            self._started[mark] = subprocess.Popen(
                command, cwd=self.folder, env={**self._environment, **dict([mark.split("=")])}, stdout=sink,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        wait_for("Ray runtime started", log, self._started[mark])
        return mark

    def tell_to_end(self, node: str) -> None:
        """As a machine does that is taken away: SIGTERM, upon which Ray ends the node within 30 s."""
        self._started[node].terminate()

    def kill(self, node: str) -> None:
        """All of its processes at once, without a word."""
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if node.encode() in (process / "environ").read_bytes().split(b"\0"):
                    os.kill(int(process.name), signal.SIGKILL)
            except OSError:
                continue
        self._started[node].wait()

    def command(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "dualsweep", *arguments, "--address", self.address]
        return subprocess.Popen(
            command, cwd=self.folder, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def end(self) -> None:
        for mark, started in reversed(self._started.items()):
            self.kill(mark)
            end(started, mark)


@pytest.fixture
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    folder, home = tmp_path_factory.mktemp("machines"), tmp_path_factory.mktemp("home")
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text(TOKEN)
    (folder / "elastic_parts.py").write_text(PARTS)
    (folder / "slow").touch()
    # A short path: Ray puts Unix sockets below it, whose names are limited to 107 characters.
    with tempfile.TemporaryDirectory(prefix="ds", dir="/tmp", ignore_cleanup_errors=True) as temporary:
        made = Machines(folder, home, Path(temporary))
        try:
            yield made
        finally:
            made.end()


def until(condition: Callable[[], bool], command: subprocess.Popen[str], seconds: float = 100) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert command.poll() is None and time.monotonic() < limit, command.communicate(timeout=30)[0]
        time.sleep(0.2)


def calls(machines: Machines) -> list[str]:
    """The processes that took steps, one by one."""
    file = machines.folder / "calls"
    return file.read_text().split() if file.exists() else []


def events(machines: Machines, kind: str) -> list[dict[str, Any]]:
    file = machines.folder / "out/events.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def test_a_training_leaves_a_node_that_is_told_to_end_loses_no_step_and_has_the_multipliers_of_one_worker(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = machines.node()
    (machines.folder / "recipe.yaml").write_text(yaml.safe_dump(ELASTIC))
    training = machines.command("train", "recipe.yaml", "--output", "out")
    until(lambda: len(calls(machines)) >= 40, training)
    machines.tell_to_end(node)
    said, _ = training.communicate(timeout=200)
    (placed,), (moved,) = events(machines, "placed"), events(machines, "moved")
    assert training.returncode == 0 and "(a node of its is about to go), and goes on at step" in said, said
    assert (placed["workers"], moved["workers"]) == (2, 1) and 20 <= moved["step"] < 120
    steps = list(map(calls(machines).count, dict.fromkeys(calls(machines))))
    assert len(steps) == 3 and steps[0] == steps[1] and steps[0] + steps[2] == 120, "each step was taken once"
    points = [json.loads(line) for line in (machines.folder / "out/metrics.jsonl").read_text().splitlines()]
    (machines.folder / "slow").unlink()
    monkeypatch.syspath_prepend(str(machines.folder))
    alone = trained_here(Recipe.model_validate(ELASTIC), tmp_path / "alone")
    several, one = multipliers(points), multipliers(alone)
    assert len(one) == 120 and np.abs(several - one)[:50].max() <= 1e-5 * one[:50].max() > 1e-6


def multipliers(points: list[dict[str, Any]]) -> np.ndarray:
    """Those of both constraints at each step [steps, 2]."""
    made = {point["step"]: point["metrics"] for point in points if "multiplier/four" in point["metrics"] and not point["final"]}
    return np.array([[made[step][f"multiplier/{name}"] for name in ("four", "five")] for step in sorted(made)])


def test_a_sweep_takes_up_a_node_that_joins_and_goes_on_without_one_that_is_gone(machines: Machines) -> None:
    recipe = {**ELASTIC, "checkpoint": {"every": 20}, "resources": {"workers": 1}}
    (machines.folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (machines.folder / "sweep.yaml").write_text(yaml.safe_dump(SWEEP))
    sweep = machines.command("sweep", "sweep.yaml", "--output", "out", "--json", "results.json")
    until(lambda: len(calls(machines)) >= 10, sweep)
    node = machines.node()
    until(lambda: len(set(calls(machines))) == 2, sweep)
    second = list(dict.fromkeys(calls(machines)))[1]
    until(lambda: calls(machines).count(second) >= 30, sweep)
    machines.kill(node)
    said, _ = sweep.communicate(timeout=250)
    results = json.loads((machines.folder / "results.json").read_text())
    assert sweep.returncode == 0 and [trial["status"] for trial in results["trials"]] == ["out_of_steps"] * 6, said
    assert "6 trials, 1 at a time" in said and "2 at a time from now on: 2 CPUs on 2 nodes" in said
    assert "1 at a time from now on: 1 CPUs" in said
    assert len(calls(machines)) < 6 * 120 + 2 * 30, "what was lost went on from its checkpoint"
