"""Small files of a job that its job server can read: beside Ray's own logs on the driver's node, named after the job."""

from __future__ import annotations

import json
import os

from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.server import reach

_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets it in the driver of a job (`ray._private.runtime_env.constants`): no public call says the submission's id there."""


def submission_id() -> str | None:
    """The id of the submitted job that this process is the driver of; None where it is none's."""
    try:
        said = json.loads(os.environ.get(_CONFIG, "{}"))["metadata"]["job_submission_id"]
    except (ValueError, KeyError, TypeError):
        return None
    return said if isinstance(said, str) else None


def job_stem(job: str | None = None) -> str | None:
    """How the names of a job's files begin; this process's job unless another is named, None where it is none's."""
    job = job or submission_id()
    return None if job is None else f"dualsweep-{job}-"


def read_log(address: str | None, name: str, *, node_id: str = "", node_ip: str = "", timeout_s: float = 30.0) -> str | None:
    """A file among Ray's logs on a node, by way of the job server; None where the node or the file is not there (any more).

    Raises:
        ClusterError: the job server can't be reached.
    """
    import requests

    server = reach(address)
    place = {"node_id": node_id} if node_id else {"node_ip": node_ip}
    try:
        answer = requests.get(
            f"{server.url}/api/v0/logs/file", {**place, "filename": name, "lines": "-1"},
            headers=server.headers, timeout=timeout_s,
        )  # fmt: skip
    except requests.exceptions.RequestException as error:
        raise ClusterError(
            "the job server must hand out logs", f"{type(error).__name__} from {server.url}", "try again"
        ) from error
    return answer.content.decode(errors="replace") if answer.ok else None
