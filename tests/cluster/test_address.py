"""Reading addresses, and knocking at doors behind which nobody is."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dualsweep.cluster.address import gcs_address, job_server_url, probe_gcs
from dualsweep.cluster.connection import connect
from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.server import reach


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_USE_TLS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never answers, as behind a firewall that swallows packets."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_none_is_local_outside_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gcs_address(None) is None
    assert gcs_address("local") is None
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert gcs_address(None) == "10.0.0.1:6379"
    assert gcs_address("local") is None
    assert gcs_address("head:7000") == "head:7000"
    assert gcs_address("[::1]:7000") == "[::1]:7000"


def test_auto_reads_the_note_of_ray_start(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="started on this machine"):
        gcs_address("auto")
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("10.0.0.9:6379")
    assert gcs_address("auto") == "10.0.0.9:6379"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ray://head:10001", "dualsweep submit"),
        ("http://head:8265", "the address of a job server"),
        ("head", "host:port"),
        ("head:", "host:port"),
        (":6379", "host:port"),
        ("head:99999", "host:port"),
        ("", "got ''"),
    ],
)
def test_unusable_addresses(address: str, words: str) -> None:
    with pytest.raises(ClusterError, match=words):
        gcs_address(address)


def test_job_server_url(monkeypatch: pytest.MonkeyPatch) -> None:
    assert job_server_url(None) == "http://127.0.0.1:8265"
    assert job_server_url("head:8265") == "http://head:8265"
    assert job_server_url("https://host/path/") == "https://host/path"
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert job_server_url(None) == "http://127.0.0.1:8265", "a GCS address isn't a job server's"
    monkeypatch.setenv("RAY_ADDRESS", "http://a:1")
    assert job_server_url(None) == "http://a:1"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://b:2")
    assert job_server_url(None) == "http://b:2"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "c:3")
    assert job_server_url(None) == "http://c:3", "as --address is taken, and no other cluster's in its place"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")
    assert job_server_url(None) == "http://a:1"
    with pytest.raises(ClusterError, match="http"):
        job_server_url("ray://head:10001")


def test_nobody_there() -> None:
    started = time.monotonic()
    with pytest.raises(ClusterError, match=r"no answer from 127\.0\.0\.1:1"):
        connect("127.0.0.1:1")
    with pytest.raises(ClusterError, match=r"no answer from http://127\.0\.0\.1:1"):
        reach("http://127.0.0.1:1")
    assert time.monotonic() - started < 5


def test_somebody_who_never_answers(silent_port: int) -> None:
    started = time.monotonic()
    with pytest.raises(ClusterError, match="GCS must answer"):
        probe_gcs(f"127.0.0.1:{silent_port}", timeout_s=0.5)
    with pytest.raises(ClusterError, match="job server must answer"):
        reach(f"127.0.0.1:{silent_port}", timeout_s=0.5)
    assert time.monotonic() - started < 5
