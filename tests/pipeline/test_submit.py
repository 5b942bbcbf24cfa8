"""`dualsweep submit`, `status` and `stop` against a real head with its job server, which asks for a token."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

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


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's clone of this repository, with a recipe, a sweep and a module of their own."""
    for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)
    tracked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "dualsweep", "trainer", "sweeps", "analysis", "cluster", ".gitignore"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in tracked.stdout.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name, follow_symlinks=False)
    put(tmp_path, MINE)
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    yield tmp_path


def test_jobs_are_followed_looked_up_and_stopped(head: Head, repository: Path) -> None:
    """A sweep to its end, with code 0 though nobody meets its budget; of this machine nothing is asked but the token."""
    results, store = head.home / "results", f"sqlite:///{head.home}/mlflow.db"
    address, home = ["--address", head.jobs], str(head.home)
    refused = run(repository, "submit", "mine/sweep.yaml", *address, HOME=str(repository), code=2)
    assert "fail  job server" in refused and "authentication token" in refused and "submitted" not in refused

    sets = ["--set", f"mlflow.tracking_uri={store}"]
    said = run(repository, "submit", "mine/sweep.yaml", *address, *sets, "--output", str(results), HOME=home)
    preflight = [line for line in said.splitlines() if line.startswith("ok ")]
    assert len(preflight) == 6 and any("with the authentication token" in line for line in preflight), said
    assert "trial 0000 starts" in said and "1/1" in said and "job server" in said and "SUCCEEDED" in said
    submitted = re.search(r"submitted as (\S+)", said)
    assert submitted is not None
    assert all("working_dir_files" in path for path in (head.home / "where").read_text().splitlines()), "the copy that travelled"
    record = json.loads((results / "records" / "0000.json").read_text())["result"]
    assert record["status"] in ("out_of_steps", "infeasible") and record["feasible"] == "violated"
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("tiny-sweep")
    assert experiment is not None
    states = {each.data.tags["dualsweep.kind"]: each.info.status for each in client.search_runs([experiment.experiment_id])}
    assert states == {"sweep": "FINISHED", "trial": "FINISHED"}

    alone = head.home / "alone"  # no repository, and nothing of ours: what the cluster has installed runs
    put(alone, {**MINE, **NAMED_LIKE_ROOMS})
    parts = ["--set", "evaluation.metrics=[class_shares, 'analysis.metrics:brightness']", "--output", str(head.home / "theirs")]
    strictly = run(alone, "submit", "mine/sweep.yaml", *address, *sets, *parts, "--strict", code=3, HOME=home)
    assert "warn  packages" in strictly and "eval/brightness" in (head.home / "theirs/records/0000.json").read_text()
    assert not any("working_dir_files" in path for path in (head.home / "where").read_text().splitlines())
    assert "FAILED" in strictly and "exit code 3: some trials failed or diverged, or under --strict" in strictly, strictly

    before = (head.home / "where").stat().st_mtime_ns
    # A budget that holds, or it would end by itself as infeasible.
    loose = ["--set", "constraints.four.at_most=9"]
    long = ["--set", "train.steps=200000", *loose, "--output", str(head.home / "long")]
    following = start(repository, "submit", "mine/recipe.yaml", *address, *long, HOME=home)
    wait_for(lambda: (head.home / "where").stat().st_mtime_ns > before, following)
    said = interrupt(following)
    assert following.returncode == 0 and "no longer following; the job goes on" in said, said
    listed = [
        line.split()[:2] for line in run(repository, "status", *address, HOME=home).splitlines() if line.startswith("raysubmit_")
    ]
    assert [status for _, status in listed] == ["RUNNING", "FAILED", "SUCCEEDED"] and listed[2][0] == submitted[1], "newest first"
    job = listed[0][0]
    assert f"{job}  STOPPED" in run(repository, "stop", job, *address, HOME=home)
    assert f"{job}  STOPPED" in run(repository, "status", job, *address, HOME=home)
