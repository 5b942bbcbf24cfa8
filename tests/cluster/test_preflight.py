"""The checks, against job servers that answer as we tell them to."""

import http.server
import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import ray

from dualsweep.cluster import preflight as checks
from dualsweep.cluster.cargo import MIB
from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.preflight import Check, failures, preflight
from dualsweep.cluster.server import reach


class Answers(http.server.BaseHTTPRequestHandler):
    """A job server's version page: behind `token`, unless that is None."""

    token: str | None = None
    version = ray.__version__
    page: bytes | None = None
    seen: ClassVar[list[str | None]] = []  # shared on purpose: each request has its own handler

    def do_GET(self) -> None:
        given = self.headers.get("Authorization")
        self.seen.append(given)
        status = 200
        if self.token is not None and given != f"Bearer {self.token}":
            status = 403 if given else 401
        body = self.page or json.dumps({"ray_version": self.version}).encode()
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body if status == 200 else b"no")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Answers]:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    class Mine(Answers):
        seen: ClassVar[list[str | None]] = []

    return Mine


@pytest.fixture
def url(answers: type[Answers]) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "sweeps").mkdir(parents=True)
    (folder / "sweeps" / "__init__.py").touch()
    (folder / "sweep.yaml").write_text("name: x\n")
    (folder / ".gitignore").write_text("secret.yaml\n")
    (folder / "secret.yaml").touch()
    return folder


def by_name(found: tuple[Check, ...]) -> dict[str, Check]:
    return {check.name: check for check in found}


def test_all_is_well(url: str, repository: Path) -> None:
    preflight_checks = preflight(repository / "sweep.yaml", working_dir=repository, address=url, modules=["sweeps"])
    assert {check.level for check in preflight_checks} == {"ok"}, [str(check) for check in preflight_checks]
    assert set(by_name(preflight_checks)) == {"file", "upload size", "links", "packages", "job server", "ray version"}


def test_the_token_is_found_but_only_sent_when_asked_for(
    url: str, answers: type[Answers], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "t0ken")
    assert reach(url).headers == {}
    assert answers.seen == [None]
    answers.token = "t0ken"
    server = reach(url)
    assert server.headers == {"authorization": "Bearer t0ken"}
    assert "t0ken" not in repr(server)


def test_no_token_and_a_wrong_one(url: str, answers: type[Answers], repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers.token = "right"
    with pytest.raises(ClusterError, match=r"asks for an authentication token, but got none in .*RAY_AUTH_MODE=token"):
        reach(url)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
    failed = failures(preflight(repository / "sweep.yaml", working_dir=repository, address=url))
    assert [check.name for check in failed] == ["job server"]
    assert failed[0].value == "a refusal of the one from the environment variable RAY_AUTH_TOKEN"


def test_something_else_answers(url: str, answers: type[Answers]) -> None:
    answers.page = b"<html>"
    with pytest.raises(ClusterError, match="must be that of Ray's job server, but got status 200 and no Ray version"):
        reach(url)


def test_another_version_is_a_warning(url: str, answers: type[Answers], repository: Path) -> None:
    answers.version = "2.1.0"
    check = by_name(preflight(repository / "sweep.yaml", working_dir=repository, address=url))["ray version"]
    assert check.level == "warn"
    assert check.value == f"2.1.0 there, {ray.__version__} here"
    assert "ray==" in check.remedy


def test_files_that_would_not_arrive(repository: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "other.yaml"
    elsewhere.touch()
    for file, words in [
        (elsewhere, "outside"),
        (repository / "gone.yaml", "doesn't exist"),
        (repository / "secret.yaml", "is ignored"),
    ]:
        check = by_name(preflight(file, working_dir=repository, address="127.0.0.1:1"))["file"]
        assert check.level == "fail"
        assert words in check.value


def test_every_failure_is_told_at_once(repository: Path, tmp_path: Path) -> None:
    preflight_checks = preflight(tmp_path / "gone.yaml", working_dir=repository, address="127.0.0.1:1")
    assert [check.name for check in failures(preflight_checks)] == ["file", "job server"]
    preflight_checks = preflight(tmp_path / "gone.yaml", working_dir=tmp_path / "gone", address="ray://x:1")
    assert [check.name for check in failures(preflight_checks)] == ["files", "job server"]


def test_sizes(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "UPLOAD_CAP_BYTES", 4 * MIB)
    (repository / "text.csv").write_bytes(b"0" * 8 * MIB)
    small = by_name(preflight(repository / "sweep.yaml", working_dir=repository, address="127.0.0.1:1"))["upload size"]
    assert small.level == "ok", "what counts is what travels, and zeros pack well"
    assert "packed" in small.value
    (repository / "weights.bin").write_bytes(random.Random(0).randbytes(3 * MIB))
    large = by_name(preflight(repository / "sweep.yaml", working_dir=repository, address="127.0.0.1:1"))["upload size"]
    assert large.level == "warn"
    assert "weights.bin (3.0 MiB)" in large.remedy


def test_packages_that_are_not_carried_are_a_warning(repository: Path) -> None:
    checks_by_name = by_name(
        preflight(repository / "x", working_dir=repository, address="127.0.0.1:1", modules=["sweeps", "mine"])
    )
    assert checks_by_name["packages"].level == "warn"
    assert checks_by_name["packages"].value == "mine not in the working directory"


def test_a_check_reads_as_one_line() -> None:
    assert str(Check("file", "fail", "it exists", "it doesn't", "make it")) == "fail  file: it exists: it doesn't; make it"
    assert str(Check("file", "ok", "it exists", "it does", "nothing")) == "ok    file: it exists: it does"
