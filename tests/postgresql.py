"""A PostgreSQL server on this machine, where its programs are installed."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil


def installed() -> Path | None:
    """The folder of PostgreSQL's programs; None where there is none."""
    binaries = Path(shutil.which("pg_ctl") or "/").resolve().parent
    return binaries if (binaries / "initdb").exists() else None


class Server:
    """A PostgreSQL server of its own on 127.0.0.1."""

    def __init__(self, binaries: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"postgresql+psycopg://u:secret@127.0.0.1:{self._port}/postgres"
        self._binaries, self.folder, self._user = binaries, Path("/tmp") / f"pg-{self._port}", None
        self.folder.mkdir()
        if os.getuid() == 0:  # PostgreSQL does not run as root
            self._user = pwd.getpwnam("postgres").pw_uid
            os.chown(self.folder, self._user, -1)
        made = [binaries / "initdb", "-D", self.folder / "data", "-U", "u", "-A", "trust", "--no-sync"]
        subprocess.run(list(map(str, made)), check=True, user=self._user, cwd="/", stdout=subprocess.DEVNULL)

    def start(self) -> None:
        command = [self._binaries / "postgres", "-D", self.folder / "data", "-F"]
        command += ["-p", self._port, "-h", "127.0.0.1", "-k", self.folder]
        log = self.folder / "log"
        with log.open("w") as said:
            self._process = subprocess.Popen(list(map(str, command)), user=self._user, cwd="/", stdout=said, stderr=said)
        end = time.monotonic() + 30
        while "ready to accept" not in log.read_text():
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait()

    def kill(self) -> None:
        """Kills all its processes: what it has committed is in its log, from which its next start recovers."""
        main = psutil.Process(self._process.pid)
        for each in (main, *main.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                each.kill()
        self._process.wait()


@contextlib.contextmanager
def serving(binaries: Path) -> Iterator[Server]:
    """A server that has started; nothing of it is left."""
    server = Server(binaries)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.folder)
