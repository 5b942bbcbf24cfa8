"""The MLflow UI on a sweep's store, for the person at this machine only."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from dualsweep.analysis import kept_with
from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.links import run_link
from dualsweep.analysis.proxies import reach_this_machine_directly
from dualsweep.analysis.store import is_http
from dualsweep.analysis.trials import SweepRecord
from dualsweep.trainer.config.masking import masked, without_login

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_STOP_SECONDS = 2.0
_POLL_SECONDS = 0.2


@dataclass
class UiServer:
    """An MLflow UI that answers at `base_url`; `process` is None where it was there already.

    As a context manager it is stopped at the end.
    """

    base_url: str
    process: subprocess.Popen[bytes] | None = None

    def stop(self) -> None:
        """Stop the server and its workers, if this started it. Twice does no harm."""
        if self.process is None:
            return
        # The server runs workers of its own, so its whole process group is told, whose head may be gone; then what is left of it.
        self._tell(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_STOP_SECONDS)
        self._tell(signal.SIGKILL)
        self.process.wait()

    def _tell(self, number: signal.Signals) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def __enter__(self) -> UiServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def ui(
    tracking_uri: str,
    *,
    artifacts_destination: str | None = None,
    host: str = "127.0.0.1",
    port: int = 5000,
    timeout: float = 120.0,
) -> UiServer:
    """Start the MLflow UI on a store and wait until it answers; an http(s) URI is such a UI already.

    Args:
        tracking_uri: the store, for example `sqlite:///mlflow.db`.
        artifacts_destination: where `mlflow-artifacts:` locations lie, where the store uses them.
        host: a loopback address; the UI has no password, so others must not reach it.
        port: the port to listen on.
        timeout: seconds to wait for the first answer.

    Raises:
        ReviewError: not a loopback address, the port is taken, or the server did not come up.
    """
    if is_http(tracking_uri):
        return UiServer(without_login(tracking_uri).rstrip("/"))
    _check_address(host, port)
    reach_this_machine_directly()
    command = [sys.executable, "-m", "mlflow", "server"]
    command += ["--host", host, "--port", str(port), "--workers", "1"]
    if artifacts_destination is not None:
        command += ["--artifacts-destination", artifacts_destination]
    process, log = _started(command, tracking_uri)
    server = UiServer(f"http://{f'[{host}]' if ':' in host else host}:{port}", process)
    try:
        _wait_until_healthy(server, log, timeout)
    except BaseException:
        server.stop()
        raise
    return server


def _started(command: list[str], tracking_uri: str) -> tuple[subprocess.Popen[bytes], Path]:
    """The server's process on a store, and the file of its output."""
    # Without MLflow's job processes, of which a review has no use, unless the user set them. The store is not on the command
    # line, where every user of the machine reads its password.
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"} | os.environ | {"MLFLOW_BACKEND_STORE_URI": tracking_uri}
    with tempfile.NamedTemporaryFile(prefix="mlflow-ui-", suffix=".log", delete=False) as log:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", kept_with.__file__, *command],
            stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True, env=environment,
        )  # fmt: skip
    return process, Path(log.name)


def front_link(base_url: str, record: SweepRecord) -> str:
    """Return the address of a sweep's interactive front in the MLflow UI at `base_url`."""
    return f"{base_url.rstrip('/')}/{run_link(record.experiment_id, record.parent_run_id, 'artifacts/front.html')}"


def _check_address(host: str, port: int) -> None:
    if host not in _LOOPBACK:
        raise ReviewError(
            f"The UI's host must be one of {', '.join(_LOOPBACK)}, because it asks for no password, but got "
            f"{host!r}. To share it, run `mlflow server` behind your own login and give its http address."
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ReviewError(
                f"The UI's port must be free, but got {port} and {host}:{port} cannot be used ({error}). "
                "Choose another port, or stop what listens there."
            ) from error


def _wait_until_healthy(server: UiServer, log: Path, timeout: float) -> None:
    assert server.process is not None
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{server.base_url}/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(_POLL_SECONDS)
    tail = masked("\n".join(log.read_text(errors="replace").splitlines()[-8:]))
    raise ReviewError(
        f"The MLflow UI must answer within {timeout:g} s, but `mlflow server` at {server.base_url} did not. "
        f"Its last words, from {log}:\n{tail}"
    )
