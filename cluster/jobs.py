"""Submitted jobs: submit, follow, list, stop. A job outlives the machine that submitted it."""

import contextlib
import shlex
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualsweep.cluster.cargo import collect, pack
from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.preflight import inside
from dualsweep.cluster.server import reach

if TYPE_CHECKING:
    from ray.job_submission import JobDetails

ENDED = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})

STOP_GRACE_S = 30
"""Seconds between a stop's SIGTERM and SIGKILL. Ray's 3 are too few for a sweep to write down where it was."""

_POLL_S = 0.5

_NAME = "dualsweep"


@dataclass(frozen=True)
class Job:
    """A submitted job as the cluster knows it. Times are Unix times in seconds; None when they haven't come.

    `status` is one of PENDING, RUNNING, SUCCEEDED, FAILED, STOPPED; `message` says more, as the end of a failed job's log.
    `node` is the id of the driver's node, `name` what it works on, as it was submitted.
    """

    submission_id: str
    address: str
    status: str
    entrypoint: str
    message: str = ""
    started: float | None = None
    ended: float | None = None
    exit_code: int | None = None
    node: str = ""
    name: str = ""

    @property
    def over(self) -> bool:
        """Whether it has ended, well or not."""
        return self.status in ENDED


def submit(
    file: Path,
    *,
    address: str | None,
    working_dir: Path,
    entrypoint_args: Sequence[str],
    env_vars: Mapping[str, str] | None = None,
    pip: Sequence[str] = (),
    submission_id: str | None = None,
    name: str = "",
    allowed: Collection[str] = (),
) -> Job:
    """Submit a job that runs `entrypoint_args` followed by `file`, in an uploaded copy of `working_dir`.

    `entrypoint_args` is a command as a list, such as `["python", "-m", "dualsweep", "sweep"]`; it is quoted here. `env_vars` hold
    in the job and all its workers. `pip` names requirements that the nodes install first. A `submission_id` must be new.
    `name` says what it works on: `running` finds it by that. `allowed`: as `dualsweep.cluster.cargo.collect` takes it.

    Raises:
        ClusterError: whatever `dualsweep.cluster.preflight.preflight` would have found, or the job server's refusal.
    """
    carried = inside(file, working_dir)
    cargo = collect(working_dir, allowed)
    if not cargo.carries(carried):
        raise ClusterError(
            "the file must be among what is carried", f"{carried}, which is ignored or missing", "check .gitignore and .rayignore"
        )
    server = reach(address)
    runtime_env: dict[str, Any] = {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_GRACE_S), **(env_vars or {})}}
    runtime_env |= {"pip": list(pip)} if pip else {}
    # `exec`: Ray starts a shell, and waits a stop's whole grace for a child that the shell left behind where process 1 of the
    # container doesn't adopt orphans; a shell that has become the command leaves none.
    entrypoint = "exec " + shlex.join([*entrypoint_args, carried])
    with tempfile.TemporaryDirectory() as folder, _told("submitting a job"):
        archive = Path(folder) / "cargo.zip"
        pack(cargo, archive)
        runtime_env["working_dir"] = str(archive)
        said: dict[str, Any] = {"submission_id": submission_id, "metadata": {_NAME: name} if name else {}}
        new = server.client().submit_job(entrypoint=entrypoint, runtime_env=runtime_env, **said)
    return status(server.url, new)


def status(address: str | None, submission_id: str) -> Job:
    """Look a job up.

    Raises:
        ClusterError: the job server can't be reached, or knows no such job.
    """
    server = reach(address)
    with _told(f"looking up job {submission_id}", address):
        return _job(server.url, server.client().get_job_info(submission_id))


def list_jobs(address: str | None) -> list[Job]:
    """All submitted jobs that the cluster remembers, newest first.

    Raises:
        ClusterError: the job server can't be reached.
    """
    server = reach(address)
    with _told("listing jobs"):
        details = server.client().list_jobs()
    jobs = [_job(server.url, each) for each in details if each.submission_id]  # drivers that joined have no submission
    return sorted(jobs, key=lambda job: job.started or 0.0, reverse=True)


def running(address: str | None, name: str) -> Job | None:
    """The job that was submitted by this name and has not ended; None where there is none.

    Raises:
        ClusterError: the job server can't be reached.
    """
    return next((job for job in list_jobs(address) if job.name == name and not job.over), None)


def stop(address: str | None, submission_id: str, *, timeout_s: float = 2.0 * STOP_GRACE_S) -> Job:
    """Stop a job and wait until its processes have ended: SIGTERM, and SIGKILL after `STOP_GRACE_S` seconds.

    One that has ended already is returned as it is.

    Raises:
        ClusterError: unknown job, or it still runs after `timeout_s` seconds.
    """
    server = reach(address)
    with _told(f"stopping job {submission_id}", address):
        client = server.client()
        job = _job(server.url, client.get_job_info(submission_id))
        if job.over:
            return job
        client.stop_job(submission_id)
        deadline = time.monotonic() + timeout_s
        while not job.over:
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"a stopped job must end within {timeout_s:g} s",
                    f"{submission_id} still {job.status}",
                    "call stop again, or look at the nodes' processes",
                )
            time.sleep(_POLL_S)
            job = _job(server.url, client.get_job_info(submission_id))
    return job


def wait(job: Job, *, timeout_s: float | None = None) -> Job:
    """Wait until a job has ended, without its logs.

    Raises:
        ClusterError: contact is lost, or `timeout_s` seconds have passed.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while not (now := status(job.address, job.submission_id)).over:
        if deadline is not None and time.monotonic() > deadline:
            raise ClusterError(
                f"the job must end within {timeout_s:g} s", f"{job.submission_id} still {now.status}", "wait longer, or stop it"
            )
        time.sleep(_POLL_S)
    return now


@contextlib.contextmanager
def _told(doing: str, address: str | None = None) -> Iterator[None]:
    """Turn what Ray's client raises into our error; it raises RuntimeError with the server's text, or what requests raises.

    `address` is the job server's, where it was given.
    """
    import requests
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError as error:
        raise ClusterError(f"{doing} needs the cluster's authentication token", str(error), "see ~/.ray/auth_token") from error
    except (RuntimeError, ConnectionError, requests.exceptions.RequestException) as error:
        text = str(error).strip()
        remedy = "try again; if it stays, see the dashboard's log on the head"
        if "does not exist" in text:
            listing = shlex.join(["dualsweep", "status", *(["--address", address] if address else [])])
            remedy = f"list the jobs with `{listing}`; a head that was restarted has forgotten its jobs"
        elif "already exists" in text:
            remedy = "give another submission id, or none"
        elif "status code 413" in text:
            remedy = "name what the job doesn't need in .gitignore or .rayignore"
        raise ClusterError(f"{doing} must succeed", text.splitlines()[-1] if text else type(error).__name__, remedy) from error


def _job(url: str, details: "JobDetails") -> Job:
    """Our record of Ray's (whose times are in ms)."""
    return Job(
        submission_id=str(details.submission_id),
        address=url,
        status=str(details.status.value),
        entrypoint=str(details.entrypoint),
        message=str(details.message or ""),
        started=details.start_time / 1000 if details.start_time else None,
        ended=details.end_time / 1000 if details.end_time else None,
        exit_code=details.driver_exit_code,
        node=details.driver_node_id or "",
        name=(details.metadata or {}).get(_NAME, ""),
    )
