"""Jobs on a real job server that asks for a token."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.follow import follow
from dualsweep.cluster.jobs import STOP_GRACE_S, Job, list_jobs, status, stop, submit, wait
from dualsweep.cluster.preflight import preflight
from tests.cluster.live.conftest import REPOSITORY, SCRIPTS, Head, environment
from tests.house import ROOMS

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository with files that must and must not travel."""
    folder = tmp_path_factory.mktemp("repository")
    for script in SCRIPTS.glob("*.py"):
        shutil.copy(script, folder)
    shutil.copytree(REPOSITORY / "cluster", folder / "cluster", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPOSITORY / "dualsweep", folder / "dualsweep", ignore=shutil.ignore_patterns("__pycache__", *ROOMS))
    (folder / "dualsweep" / "cluster").symlink_to("../cluster")
    (folder / "beside.py").write_text("WORD = 'from the working directory'\n")
    (folder / "my sweep.yaml").write_text("name: x\n")
    (folder / ".gitignore").write_text("*.bin\n")
    (folder / "big.bin").write_bytes(b"0" * 2**20)
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


def run(head: Head, repository: Path, script: str, **env_vars: str) -> Job:
    return submit(
        repository / "my sweep.yaml",
        address=head.jobs,
        working_dir=repository,
        entrypoint_args=["python", script, "--name", "it's"],
        env_vars={"PYTHONUNBUFFERED": "1", **env_vars},
    )


class Followed(NamedTuple):
    """A job that was followed to its end, what was written meanwhile, and what it had written when it was followed once more."""

    job: Job
    log: str
    again: str


@pytest.fixture(scope="module")
def followed(head: Head, repository: Path) -> Followed:
    pieces: list[str] = []
    job = follow(run(head, repository, "all.py", SETTING="a b"), pieces.append)
    again: list[str] = []
    assert follow(job, again.append) == job, "one that has ended can be followed, too"
    return Followed(job, "".join(pieces), "".join(again))


def test_what_a_job_needs_is_there(head: Head, repository: Path) -> None:
    checks = preflight(repository / "my sweep.yaml", working_dir=repository, address=head.jobs, modules=["dualsweep"])
    assert {check.level for check in checks} == {"ok"}, [str(check) for check in checks]


def test_a_job_is_followed_to_its_end(followed: Followed) -> None:
    job = followed.job
    assert (job.status, job.over, job.exit_code) == ("SUCCEEDED", True, 0), job.message
    assert job.started is not None and job.ended is not None and 0 < job.ended - job.started < 60
    assert followed.log.count("ARGUMENTS") == 1 and followed.again == followed.log, "nothing is written twice"


def test_a_job_has_its_files_its_arguments_and_its_cluster(followed: Followed) -> None:
    log = followed.log
    carried = {line.removeprefix("FILE ") for line in log.splitlines() if line.startswith("FILE ")}
    assert {"my sweep.yaml", "beside.py", ".gitignore", "dualsweep/cluster/jobs.py"} <= carried
    assert not any(".git/" in name or name.endswith(".bin") for name in carried)
    assert "SETTING a b" in log and "ARGUMENTS ['--name', \"it's\", 'my sweep.yaml']" in log
    for line in ("STARTED False", "CPUS 2.0", "WORD from the working directory"):
        assert line in log, "it joins its cluster without being given an address"


def test_a_failing_job_says_so(head: Head, repository: Path) -> None:
    job = wait(run(head, repository, "fails.py"), timeout_s=60)
    assert (job.status, job.exit_code) == ("FAILED", 7)
    assert "exit code 7" in job.message


def test_an_interrupt_ends_the_following_only_and_a_stop_leaves_time_to_tidy_up(head: Head, repository: Path) -> None:
    job = run(head, repository, "slow.py")
    words = "import sys; from dualsweep.cluster import follow, jobs; follow.follow(jobs.status(*sys.argv[1:]))"
    command = [sys.executable, "-c", words, head.jobs, job.submission_id]
    with subprocess.Popen(command, env=environment(head.home), stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as follower:
        assert follower.stdout is not None
        assert any("READY" in line for line in follower.stdout)
        follower.send_signal(signal.SIGINT)
        assert follower.wait(20) != 0
    assert status(head.jobs, job.submission_id).status == "RUNNING"
    assert list_jobs(head.jobs)[0].submission_id == job.submission_id, "newest first"
    with pytest.raises(ClusterError, match="must end within 0 s"):
        wait(job, timeout_s=0)

    asked = time.monotonic()
    stopped = stop(head.jobs, job.submission_id)
    assert 4 <= time.monotonic() - asked < STOP_GRACE_S, "as long as the job takes, and not the whole grace"
    assert stopped.status == "STOPPED"
    pieces: list[str] = []
    assert follow(stopped, pieces.append) == stopped
    assert "TIDIED" in "".join(pieces)
    assert stop(head.jobs, job.submission_id) == stopped, "stopping twice changes nothing"


def test_an_unknown_job(head: Head, repository: Path) -> None:
    with pytest.raises(ClusterError, match=r"none-such does not exist.*forgotten"):
        status(head.jobs, "none-such")
    with pytest.raises(ClusterError, match="none-such does not exist"):
        follow(Job("none-such", head.jobs, "RUNNING", ""))


def test_a_name_is_taken_once(head: Head, repository: Path) -> None:
    known = list_jobs(head.jobs)[-1].submission_id
    with pytest.raises(ClusterError, match="another submission id"):
        submit(
            repository / "all.py",
            address=head.jobs,
            working_dir=repository,
            entrypoint_args=["true"],
            submission_id=known,
        )


def test_a_wrong_token_and_none(head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
    with pytest.raises(ClusterError, match="refusal of the one from the environment variable RAY_AUTH_TOKEN"):
        list_jobs(head.jobs)
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ClusterError, match="asks for an authentication token"):
        list_jobs(head.jobs)
