"""`dualsweep submit`, `status` and `stop` against a real head with its job server, which asks for a token."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from mlflow import MlflowClient

from tests.cluster.live.conftest import Head, head
from tests.pipeline.conftest import NAMED_LIKE_ROOMS, PARTS, RECIPE, ROOT, SWEEP, interrupt, put, run, start, wait_for

__all__ = ["head"]
pytestmark = [pytest.mark.ray, pytest.mark.slow]

#: Where the code was imported from is written down beside the results.
WHERE = """
def where():
    from dualsweep import analysis, cluster, sweeps, trainer
    Path(os.environ["HOME"], "where").write_text("\\n".join(each.__path__[0] for each in (analysis, cluster, sweeps, trainer)))
    return Small()
"""


_BUDGET = {"constraints": [{"name": "four", "data": {"classes": [4]}, "at_most": -9.0}], "model": {"call": "parts:where"}}
_SEARCH = {"dual.step_size": {"log_uniform": [0.01, 0.2]}}
MINE = {
    "parts.py": PARTS + WHERE,
    "mine/recipe.yaml": yaml.safe_dump({**RECIPE, **_BUDGET}),
    "mine/sweep.yaml": yaml.safe_dump({**SWEEP, "trials": 1, "search": _SEARCH}),
}


#: What Ray's metrics have of a training without loaders.
GAUGES = ("step", "step_seconds", "staleness_dual_steps", "coordinator_wait_seconds", "coordinator_queue")


class Submitted(NamedTuple):
    """What the commands said of three jobs, in turn, and which jobs and places of code they came to."""

    home: Path
    store: str
    swept: str
    arguments: list[str]
    followed: str
    listed: list[list[str]]
    stopped: str
    swept_from: list[str]
    trained_from: list[str]
    stopped_in: float
    log: str
    live: str
    metrics: str
    twice: str


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is no repository and has nothing of ours: what the cluster has installed runs."""
    folder = tmp_path_factory.mktemp("alone")
    put(folder, {**MINE, **NAMED_LIKE_ROOMS})
    return folder


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's clone of this repository, with a recipe, a sweep and a module of their own."""
    folder = tmp_path_factory.mktemp("repository")
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "dualsweep", "trainer", "sweeps", "analysis", "cluster", ".gitignore"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in tracked.stdout.split():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name, follow_symlinks=False)
    put(folder, MINE)
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def user(head: Head) -> Iterator[dict[str, Any]]:
    """The environment of a user whose home holds the head's token."""
    with pytest.MonkeyPatch.context() as environment:
        for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
            environment.delenv(name, raising=False)
        yield {"HOME": str(head.home)}


@pytest.fixture(scope="module")
def submitted(head: Head, alone: Path, repository: Path, user: dict[str, Any]) -> Submitted:
    """A sweep to its end, with a metric of the user's; a long training that is broken off."""
    store, where = f"sqlite:///{head.home}/mlflow.db", head.home / "where"
    address = ["--address", head.jobs]
    sweep = ["submit", "mine/sweep.yaml", *address, "--set", f"mlflow.tracking_uri={store}"]
    sweep += ["--set", "evaluation.metrics=[class_shares, 'analysis.metrics:brightness']", "--output", str(head.home / "results")]
    swept = run(alone, *sweep, **user)
    swept_from = where.read_text().splitlines()

    before = where.stat().st_mtime_ns
    # A budget that holds, or it would end by itself as infeasible.
    long = ["--set", "train.steps=200000", "--set", "constraints.four.at_most=9", "--output", str(head.home / "long")]
    following = start(repository, "submit", "mine/recipe.yaml", *address, *long, **user)
    wait_for(lambda: where.stat().st_mtime_ns > before, following)
    followed = interrupt(following)
    assert following.returncode == 0, followed
    jobs = [
        line.split()[:2] for line in run(repository, "status", *address, **user).splitlines() if line.startswith("raysubmit_")
    ]
    twice = run(repository, "submit", "mine/recipe.yaml", "--no-follow", *address, *long, **user)
    metrics = measured(head)
    begun = time.monotonic()
    live = run(repository, "status", jobs[0][0], *address, **user)
    asked = time.monotonic()
    stopped = run(repository, "stop", jobs[0][0], *address, **user)
    stopped_in = time.monotonic() - asked - (asked - begun)  # without what a command takes to start and ask
    stopped += run(repository, "status", jobs[0][0], *address, **user)
    log = ray("job", "logs", "--address", head.jobs, jobs[0][0], cwd=repository, user=user).stdout
    trained_from = where.read_text().splitlines()
    return Submitted(
        head.home, store, swept, sweep, followed, jobs, stopped, swept_from, trained_from, stopped_in, log, live, metrics, twice
    )


def measured(head: Head) -> str:
    """What Ray exports of ours, once every process of the training has exported for the first time."""
    end, lines = time.monotonic() + 90, list[str]()
    while not all(any(f"dualsweep_{name}{{" in line for line in lines) for name in GAUGES) and time.monotonic() < end:
        time.sleep(1)
        with urllib.request.urlopen(head.metrics, timeout=10) as answer:
            lines = [line for line in answer.read().decode().splitlines() if "dualsweep_" in line and line[0] != "#"]
    return "\n".join(lines)


def ray(*arguments: str, cwd: Path, user: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Ray's own command."""
    command = [str(Path(sys.executable).parent / "ray"), *arguments]
    environment = {**os.environ, **user, "RAY_AUTH_MODE": "token"}
    return subprocess.run(command, cwd=cwd, env=environment, text=True, capture_output=True, timeout=300, check=False)


def test_of_this_machine_nothing_is_asked_but_the_token(head: Head, repository: Path, user: dict[str, Any]) -> None:
    refused = run(repository, "submit", "mine/sweep.yaml", "--address", head.jobs, HOME=str(repository), code=2)
    assert "fail  job server" in refused and "authentication token" in refused and "submitted" not in refused


def test_a_sweep_is_followed_to_its_end_with_code_0_though_nobody_meets_its_budget(submitted: Submitted) -> None:
    said = submitted.swept
    assert "trial 0000 starts" in said and "1/1" in said and "job server" in said and "SUCCEEDED" in said, said
    record = json.loads((submitted.home / "results" / "records" / "0000.json").read_text())["result"]
    assert record["status"] in ("out_of_steps", "infeasible") and record["feasible"] == "violated"
    client = MlflowClient(submitted.store)
    experiment = client.get_experiment_by_name("tiny-sweep")
    assert experiment is not None
    states = {each.data.tags["dualsweep.kind"]: each.info.status for each in client.search_runs([experiment.experiment_id])}
    assert states == {"sweep": "FINISHED", "trial": "FINISHED"}


def test_without_a_repository_what_the_cluster_has_installed_runs_with_the_users_own_modules(submitted: Submitted) -> None:
    assert "warn  packages" in submitted.swept
    assert "eval/brightness" in (submitted.home / "results/records/0000.json").read_text()
    assert not any("working_dir_files" in path for path in submitted.swept_from)


@pytest.mark.dear  # the code of a strict sweep: test_train.py, of a job that fails: cluster/live/test_jobs.py
def test_the_same_again_trains_nothing_and_strictly_fails(submitted: Submitted, alone: Path, user: dict[str, Any]) -> None:
    said = run(alone, *submitted.arguments, "--strict", code=3, **user)
    assert "trial 0000 starts" not in said and "FAILED" in said, said
    assert "exit code 3: some trials failed or diverged, or under --strict" in said, said


def test_a_repository_travels_and_an_interrupt_ends_the_following_only(submitted: Submitted) -> None:
    said = submitted.followed
    passed = [line for line in said.splitlines() if line.startswith("ok ")]
    assert len(passed) == 6 and any("with the authentication token" in line for line in passed), said
    assert all("working_dir_files" in path for path in submitted.trained_from), "the copy that travelled"
    assert "no longer following; the job goes on" in said, said


def test_jobs_are_listed_newest_first_and_stopped(submitted: Submitted) -> None:
    assert [status for _, status in submitted.listed] == ["RUNNING", "SUCCEEDED"]
    named = re.search(r"submitted as (\S+)", submitted.swept)
    assert named is not None and submitted.listed[1][0] == named[1]
    assert submitted.stopped.count(f"{submitted.listed[0][0]}  STOPPED") == 2, "by `stop`, and by `status` afterwards"


def test_the_same_submitted_while_it_runs_is_not_begun_twice(submitted: Submitted) -> None:
    assert f"the same runs already, as {submitted.listed[0][0]}" in submitted.twice and "submitted as" not in submitted.twice


def test_of_a_running_job_every_trial_is_told_and_measured(submitted: Submitted) -> None:
    assert re.search(r"tiny .* running .* [1-9]\d*/200000 ", submitted.live), submitted.live
    for name in GAUGES:
        assert re.search(rf"dualsweep_{name}{{.*run=\"long\"", submitted.metrics), (name, submitted.metrics)


def test_a_trials_log_is_had_from_afar(submitted: Submitted, head: Head, user: dict[str, Any]) -> None:
    address = ["--address", head.jobs]
    told = run(ROOT, "logs", "0000", submitted.listed[1][0], *address, **user)
    assert "  placed  on " in told and "dualsweep: training " in told and "violated" in told, told
    assert "dualsweep: training" in run(ROOT, "logs", "tiny", submitted.listed[0][0], *address, **user)


def test_a_stop_is_heard_at_once_and_written_down(submitted: Submitted) -> None:
    assert "dualsweep: interrupted; to continue" in submitted.log, submitted.log
    assert submitted.stopped_in <= 6.0, submitted.stopped  # and not Ray's own time before it kills


@pytest.mark.dear  # a job of `submit` ends above; where relative places go: sweeps/test_way_back.py
def test_what_people_type_loses_nothing(head: Head, alone: Path, user: dict[str, Any]) -> None:
    done = ray(
        "job", "submit", "--address", head.jobs, "--working-dir", ".", "--", "dualsweep", "sweep", "mine/sweep.yaml",
        cwd=alone, user=user,
    )  # fmt: skip
    said, last = done.stdout + done.stderr, head.home / "dualsweep"
    assert done.returncode == 0 and "succeeded" in said, said
    assert (last / "runs/tiny-sweep/records/0000.json").is_file() and (last / "mlflow.db").is_file(), said
    assert f"relative places lie below {last} on " in said, said
    assert f"dualsweep ui tiny-sweep --tracking-uri sqlite:///{last}/mlflow.db" in said, said
    unpacked = (head.home.parent / "r/session_latest/runtime_resources/working_dir_files").resolve(strict=True)
    left = [path for path in unpacked.rglob("*") if path.name in ("runs", "mlruns", "mlflow.db", "study.lock", "spool")]
    assert not left, left
