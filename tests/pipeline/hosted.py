"""A Ray of one's own for many tests, in whose working directory trainings run one after another on slots that are kept."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from dualsweep.cluster import connection
from dualsweep.cluster.connection import connect
from dualsweep.cluster.resources import local_cluster_cpus
from dualsweep.trainer.ray_shell.job import Job, job_for
from dualsweep.trainer.ray_shell.slot import Renewal
from dualsweep.trainer.ray_shell.slots import Slots
from dualsweep.trainer.ray_shell.training_handle import Training
from dualsweep.trainer.recipe.recipe import Recipe
from tests.pipeline.conftest import RECIPE, ROOT, running_in, without_time, working_directory

#: One that keeps 350 MB more with each training, and one that imports a module of the user's.
MORE = """
import os
from pathlib import Path
import parts

kept = []

def leaks():
    kept.append(os.urandom(1 << 20) * 350)
    return parts.Small()

def edited():
    import width
    with Path("widths").open("a") as widths:
        widths.write(f"{os.getpid()} {width.WIDTH}\\n")
    return parts.Small()
"""


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with the user's parts, on a Ray of three CPUs at least, however many the machine has."""
    before = Path.cwd()
    with working_directory(tmp_path_factory.mktemp("hosting")) as made:
        (made / "more.py").write_text(MORE)
        os.chdir(made)
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("PYTHONPATH", str(ROOT))  # some of the models are those of `tests.known`
            environment.setattr(connection, "local_cluster_cpus", lambda machine: max(3, local_cluster_cpus(machine)))
            try:
                with connect("local"):
                    yield made
            finally:
                os.chdir(before)


@pytest.fixture(scope="module")
def slots(there: Path) -> Iterator[Slots]:
    """What one test leaves to the next: a slot that is there, or is not."""
    made = Slots(Renewal())
    yield made
    made.end()


def job(name: str, model: str = "parts:good", **changes: Any) -> Job:
    """A training of 60 steps with no more evaluation than must be."""
    quick = {"evaluation": {"samples": 0, "loss_draws": 16, "metrics": []}}
    recipe = Recipe.model_validate({**RECIPE, "model": {"call": model}, **quick, **changes})
    return job_for(recipe, f"out/{name}", "judges")


def points_of(slots: Slots, job: Job) -> list[dict[str, Any]]:
    """Trains to the end; the points that were reported, without the time they were made."""
    reports = [payload for payload in Training(job, slots).reports() if payload is not None]
    return [timeless(point) for payload in reports for point in payload["points"]]


def timeless(point: dict[str, Any]) -> dict[str, Any]:
    """A point without the time at which it was made."""
    return {**point, "metrics": without_time(point["metrics"]), "time": None}


def workers_since(calls: int = 0) -> list[str]:
    """The processes that took training steps, in turn, after so many of them."""
    return list(dict.fromkeys(Path("calls").read_text().split()[calls:]))


def slots_started(name: str) -> int:
    """How many slots were started for a training."""
    return len(list(Path("out", name, "ray").glob("slot-*")))


def steps_taken() -> int:
    return len(Path("calls").read_text().split()) if Path("calls").exists() else 0


def all_is_free() -> bool:
    """Whether no placement group holds a CPU."""
    return bool(ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"])


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, list(filter(None, map(title_of, psutil.process_iter())))
        time.sleep(0.2)


def processes_of_slots(folder: Path) -> list[psutil.Process]:
    ours = re.compile("ray::(SlotCoordinator|RayTrainWorker|TrainController|.*Cleaner)")
    return [each for each in running_in(folder) if ours.match(title_of(each))]


def title_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()[:1])
    except psutil.Error:
        return ""
