"""A local S3 server, moto's, as a process of its own on 127.0.0.1, and a relay to it that can be cut."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import fsspec

#: Nothing that is written anywhere may hold it.
SECRET = "MARKED-SECRET-OF-THE-STORE"


@dataclass
class Store:
    """A server's address, the environment of its clients, and a bucket of its own for each who asks."""

    address: str
    environment: dict[str, str]
    buckets: list[str] = field(default_factory=list)

    def bucket(self) -> str:
        """The URI of a new bucket."""
        self.buckets.append(f"bucket-{os.getpid()}-{len(self.buckets)}")
        fsspec.filesystem("s3").mkdir(self.buckets[-1])
        return f"s3://{self.buckets[-1]}"


@contextlib.contextmanager
def object_store(folder: Path) -> Iterator[Store]:
    """The server, and this process's environment with what its clients need, for as long as the context lasts."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (folder / "moto.log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        address = f"http://127.0.0.1:{port}"
        environment = client_environment(address)
        try:
            _wait_for(port, server)
            with mock.patch.dict(os.environ, environment), fresh_clients():
                yield Store(address, environment)
        finally:
            server.kill()


def client_environment(address: str) -> dict[str, str]:
    """What a client at that address needs; it gives up soon."""
    login = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
    return {**login, "AWS_ENDPOINT_URL": address, "AWS_MAX_ATTEMPTS": "1", "NO_PROXY": "127.0.0.1"}


@contextlib.contextmanager
def fresh_clients() -> Iterator[None]:
    """Clients are kept for the address that they were made with: here are others than before, and afterwards too."""
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()
    try:
        yield
    finally:
        S3FileSystem.clear_instance_cache()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert server.poll() is None, "moto's server has ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise AssertionError("moto's server does not answer")


class Relay:
    """Passes connections on to a port, unless it is cut."""

    def __init__(self, to: int) -> None:
        self.port, self._to, self._open = free_port(), to, list[socket.socket]()
        self._server: socket.socket | None = None
        self.mend()

    def mend(self) -> None:
        self._server = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def cut(self) -> None:
        """From now on there is no connection, and those that were are gone."""
        assert self._server is not None
        for end in (self._server, *self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        self._open.clear()

    def _accept(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = server.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    @staticmethod
    def _pump(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                other.sendall(data)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)
