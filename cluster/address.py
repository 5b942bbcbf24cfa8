"""Where a cluster is: reading what users give as an address, and asking within seconds whether it answers.

A cluster has two front doors: its GCS (`HOST:6379`), which drivers join, and its job server (`http://HOST:8265`), to which
jobs are submitted. `ray.init` blocks for two minutes on an address that doesn't answer and then ends the process, so we
knock first.
"""

import os
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from dualsweep.cluster.auth import Token, find_token, missing_token, refused_token
from dualsweep.cluster.errors import ClusterError

JOB_SERVER = "http://127.0.0.1:8265"
PROBE_TIMEOUT_S = 3.0


def gcs_address(address: str | None) -> str | None:
    """Resolve what a driver joins, as `host:port`; None for a cluster of its own.

    None stands for RAY_ADDRESS where set (as inside a submitted job), else for "local". "auto" is the cluster that
    `ray start` has left running on this machine.

    Raises:
        ClusterError: not an address that a driver can join.
    """
    given = address if address is not None else os.environ.get("RAY_ADDRESS") or "local"
    if given == "local":
        return None
    if given == "auto":
        return _started_here()
    if "://" in given:
        raise ClusterError(
            "a driver joins a cluster by the host:port of its GCS",
            given,
            "submit instead with `dualsweep submit FILE --address http://HOST:8265`: "
            + (
                "a Ray client's (ray://) driver stays on this machine, where a lost connection ends the sweep"
                if given.startswith("ray://")
                else "this is the address of a job server"
            ),
        )
    host, _, port = given.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port[:6]) < 65536:
        raise ClusterError("an address must be local, auto or host:port", repr(given), "give for example 10.0.0.1:6379")
    return given


def job_server_url(address: str | None) -> str:
    """Resolve where jobs are submitted, as a URL without a trailing slash.

    None stands for RAY_API_SERVER_ADDRESS, else RAY_ADDRESS when it is a URL, else http://127.0.0.1:8265.

    Raises:
        ClusterError: not an http or https URL.
    """
    joined = os.environ.get("RAY_ADDRESS", "")  # may be a GCS
    named = os.environ.get("RAY_API_SERVER_ADDRESS") or (joined if joined.startswith(("http://", "https://")) else JOB_SERVER)
    given = address if address is not None else named
    url = (given if "://" in given else f"http://{given}").rstrip("/")
    if not _is_server(url):
        raise ClusterError(
            "jobs are submitted to the http:// or https:// address of the job server (Ray's dashboard)",
            given,
            f"give for example {JOB_SERVER}",
        )
    return url


def _is_server(url: str) -> bool:
    """Whether a connection can be made to what a URL names: a host, and no port or one that is a number."""
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that don't close, a port that is none
        return False
    return named and parts.scheme in ("http", "https") and not any(each.isspace() or not each.isprintable() for each in url)


def probe_gcs(address: str, timeout_s: float = PROBE_TIMEOUT_S) -> None:
    """Ask the GCS at `host:port` for its identity, which needs no more than one small call.

    Finds the token by itself. Where Ray is set up for TLS this only waits for the port.

    Raises:
        ClusterError: nothing answers within `timeout_s` seconds, no token is found though one is asked for, or it is refused.
    """
    import grpc  # type: ignore[import-untyped]  # its stubs are no dependency of ours

    token = find_token()
    options = [("grpc.enable_http_proxy", 0)]  # Ray itself never goes through a proxy
    with grpc.insecure_channel(address, options=options) as channel:
        if os.environ.get("RAY_USE_TLS", "0") not in ("0", ""):
            return
        call = channel.unary_unary("/ray.rpc.NodeInfoGcsService/GetClusterId", _registered_method=False)
        try:
            call(b"", timeout=timeout_s, metadata=tuple(token.headers.items()) if token else ())
        except grpc.RpcError as error:
            _judge(error, address, token)


def _judge(error: "object", address: str, token: Token | None) -> None:
    """Turn a failed probe into what the user can do about it."""
    import grpc

    assert isinstance(error, grpc.Call)
    if error.code() is grpc.StatusCode.UNAUTHENTICATED:
        raise refused_token(f"the cluster at {address}", token) if token else missing_token(f"the cluster at {address}")
    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        raise ClusterError(
            "the cluster's GCS must answer",
            f"no answer from {address}",
            "start its head with `ray start --head`, or correct the address: the GCS listens on port 6379 by default (8265 is "
            "the job server, 10001 the Ray client's); from outside the cluster use `dualsweep submit`, "
            "or `dualsweep cluster exec` for one of `dualsweep cluster up`",
        )
    # Any other answer comes from something that speaks gRPC, perhaps another version's GCS: Ray is to say what it thinks.


def _started_here() -> str:
    """The address noted by the last `ray start` on this machine. A note may outlive its cluster, so it is probed later."""
    note = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray" / "ray_current_cluster"
    try:
        return note.read_text().strip()
    except OSError as error:
        raise ClusterError(
            "auto needs a cluster started on this machine by `ray start`",
            f"no {note}",
            "give host:port, or leave the address out for a cluster of its own",
        ) from error
