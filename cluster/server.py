"""The job server (Ray's dashboard): reaching it within seconds, with the token when it asks for one."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dualsweep.cluster.address import PROBE_TIMEOUT_S, job_server_url
from dualsweep.cluster.auth import find_token, missing_token, refused_token
from dualsweep.cluster.errors import ClusterError

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient


@dataclass(frozen=True)
class JobServer:
    """A job server that has answered: its URL, its version of Ray, and the headers that it accepts (they hold the token)."""

    url: str
    ray_version: str
    headers: dict[str, str] = field(repr=False)

    def client(self) -> JobSubmissionClient:
        """Ray's own client for it, quiet."""
        from ray.job_submission import JobSubmissionClient

        for name in ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
            logging.getLogger(name).setLevel(logging.WARNING)  # they set themselves to INFO when imported
        # The header is given rather than RAY_AUTH_MODE set: Ray reads that only once, when it is imported.
        return JobSubmissionClient(self.url, headers=dict(self.headers))


def reach(address: str | None = None, timeout_s: float = PROBE_TIMEOUT_S) -> JobServer:
    """Reach the job server at `address` (see `dualsweep.cluster.address.job_server_url` for None).

    The token is sent only to a server that asks for one.

    Raises:
        ClusterError: a malformed address, no answer within `timeout_s` seconds, not a job server, or a missing or refused token.
    """
    url = job_server_url(address)
    status, version = _ask(url, {}, timeout_s)
    headers: dict[str, str] = {}
    if status in (401, 403):
        token = find_token()
        if token is None:
            raise missing_token(f"the job server at {url}")
        headers = token.headers
        status, version = _ask(url, headers, timeout_s)
        if status in (401, 403):
            raise refused_token(f"the job server at {url}", token)
    if version is None:
        raise ClusterError(
            "the address must be that of Ray's job server",
            f"status {status} and no Ray version from {url}/api/version",
            "give the dashboard's address, as http://HOST:8265; `ray start --head` prints it",
        )
    return JobServer(url, version, headers)


def _ask(url: str, headers: dict[str, str], timeout_s: float) -> tuple[int, str | None]:
    """The HTTP status of the version page, and the version of Ray that it gives, if any."""
    # requests, as Ray's client uses it: the same proxies and certificates apply.
    import requests

    try:
        answer = requests.get(f"{url}/api/version", headers=headers, timeout=timeout_s)
    except requests.exceptions.SSLError as error:
        raise ClusterError(
            "the job server's certificate must be trusted", f"{url}: {error}", "set REQUESTS_CA_BUNDLE to the authority's file"
        ) from error
    except requests.exceptions.RequestException as error:
        raise ClusterError(
            "the job server must answer",
            f"no answer from {url} ({type(error).__name__})",
            "check that the cluster is up and that this is its dashboard's address (`ray start --head` prints it); for one that "
            "listens only on its own machine or in Kubernetes, forward the port: `ssh -L 8265:127.0.0.1:8265 HOST`, or "
            "`kubectl port-forward service/NAME-head-svc 8265`",
        ) from error
    try:
        return answer.status_code, str(answer.json()["ray_version"])
    except (ValueError, KeyError, TypeError):
        return answer.status_code, None
