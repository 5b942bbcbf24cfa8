"""An environment that has all packages but this project's: what MLflow serves there needs nothing of ours."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sysconfig
import time
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.cluster.live.conftest import free_ports

#: MLflow starts its server by the name of this command.
UVICORN = "#!{python}\nimport sys\n\nfrom uvicorn.main import main\n\nsys.exit(main())\n"


class Apart:
    """A virtual environment in `folder`, with links to the packages of this one."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder / "env", symlinks=True)
        self.folder, self.python = folder, folder / "env" / "bin" / "python"
        (packages,) = (folder / "env" / "lib").glob("python*/site-packages")
        for each in Path(sysconfig.get_path("purelib")).iterdir():
            if "dualsweep" not in each.name and not each.name.endswith(".pth"):
                (packages / each.name).symlink_to(each)
        command = self.python.with_name("uvicorn")
        command.write_text(UVICORN.format(python=self.python))
        command.chmod(0o755)
        (folder / "here").mkdir()  # a working directory in which nothing lies
        refused = self.run("-c", "import dualsweep", check=False)
        assert "No module named 'dualsweep'" in refused.stderr

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        own = {"HOME": str(self.folder), "XDG_STATE_HOME": str(self.folder / "state"), "HF_HOME": str(self.folder / "hub")}
        path = f"{self.python.parent}{os.pathsep}{kept['PATH']}"
        return {**kept, **own, "HF_HUB_OFFLINE": "1", "PATH": path, "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Python with these arguments, in a folder of its own."""
        command = [str(self.python), *arguments]
        ran = subprocess.run(
            command, cwd=self.folder / "here", env=self.environment, capture_output=True, text=True, timeout=300
        )  # fmt: skip
        assert not check or ran.returncode == 0, ran.stderr
        return ran

    @contextlib.contextmanager
    def served(self, model: Path) -> Iterator[Server]:
        """`mlflow models serve` of a model's folder."""
        [port] = free_ports(1)
        command = [str(self.python), "-m", "mlflow", "models", "serve", "-m", str(model), "--env-manager", "local"]
        log = self.folder / f"{model.name}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
                cwd=self.folder / "here", env=self.environment, stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip
        try:
            server = Server(port)
            server.wait(process, log)
            yield server
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


class Server:
    """What answers at a port of this machine."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"

    def wait(self, process: subprocess.Popen[bytes], log: Path) -> None:
        for _ in range(600):
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self._address}/ping", timeout=5):
                return
            time.sleep(0.2)
        raise AssertionError(log.read_text())

    def ask(self, request: dict[str, Any]) -> tuple[int, Any]:
        """The status and what is said."""
        body, kind = json.dumps(request).encode(), {"Content-Type": "application/json"}
        try:
            with urllib.request.urlopen(
                urllib.request.Request(f"{self._address}/invocations", body, kind), timeout=300
            ) as answer:  # fmt: skip
                return answer.status, json.load(answer)["predictions"]
        except urllib.error.HTTPError as refused:
            return refused.code, json.load(refused)["message"]
