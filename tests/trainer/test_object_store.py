"""A training's files on a real S3 server, through outages, and places that no run can be written to."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from s3fs import S3FileSystem

from dualsweep.trainer import patient_files
from dualsweep.trainer.checkpoint import CheckpointFolder, Snapshot
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.patient_files import StoreAwayError, wait_for_stores
from dualsweep.trainer.storage import check_writable, filesystem, read_file, write_files
from tests.object_store import SECRET, Relay, Store, client_environment, fresh_clients, object_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with object_store(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture
def relay(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """Between this process and the server; this process waits long for a store, and asks soon again."""
    made = Relay(int(store.address.rpartition(":")[2]))
    for name, value in client_environment(f"http://127.0.0.1:{made.port}").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(patient_files, "_FIRST_PAUSE", 0.1)
    monkeypatch.setattr(patient_files, "_patience", 60.0)
    with fresh_clients():
        yield made


def snapshot(step: int) -> Snapshot:
    return Snapshot(step, {"weights": {"w": torch.full((3,), float(step))}}, {"x": step}, {"recipe.yaml": b"a: 1\n"})


def test_an_outage_stops_no_training_and_the_newest_checkpoint_is_there_after_it(store: Store, relay: Relay) -> None:
    folder = CheckpointFolder(f"{store.bucket()}/run/checkpoints")
    folder.save(snapshot(10))
    folder.flush()
    relay.cut()
    began = time.monotonic()
    for step in (20, 30, 40, 50):
        folder.save(snapshot(step))
    assert time.monotonic() - began < 1, "training goes on"
    relay.mend()
    folder.flush()
    found = folder.latest()
    assert found is not None and found.step == 50 and found.groups["weights"]["w"].tolist() == [50.0] * 3
    assert [path.rpartition("/")[2] for path in filesystem(folder.uri)[0].ls(folder.uri, detail=False)] == ["step-00000050"]


def test_an_outage_that_does_not_end_is_an_error_with_a_name_at_the_end_alone(
    store: Store, relay: Relay, caplog: pytest.LogCaptureFixture
) -> None:
    folder = CheckpointFolder(f"{store.bucket()}/run/checkpoints")
    relay.cut()
    wait_for_stores(0.5)
    with caplog.at_level(logging.WARNING):
        folder.save(snapshot(10))
        folder.save(snapshot(20))
        with pytest.raises(StoreAwayError, match=r"the store does not answer \(EndpointConnectionError"):
            folder.flush()
    assert "the checkpoint of step 20 is not written: the store is away" in caplog.text
    relay.mend()
    folder.flush()
    assert (found := folder.latest()) is not None and found.step == 20


def test_reading_and_writing_wait_an_outage_out(store: Store, relay: Relay, caplog: pytest.LogCaptureFixture) -> None:
    place = f"{store.bucket()}/run"
    write_files(place, {"result.json": b"1"})
    relay.cut()
    threading.Timer(2.0, relay.mend).start()
    with caplog.at_level(logging.WARNING):
        write_files(place, {"result.json": b"2"})
    assert read_file(place, "result.json") == b"2" and read_file(place, "none") is None
    assert caplog.text.count("the store does not answer") == 1


def test_what_another_process_has_written_meanwhile_is_seen(store: Store) -> None:
    place = f"{store.bucket()}/run"
    folder = CheckpointFolder(f"{place}/checkpoints")
    write_files(place, {"fingerprint": b"1"})
    assert folder.newest() is None and len(filesystem(place)[0].ls(place)) == 1 and read_file(place, "result.json") is None
    other = S3FileSystem(skip_instance_cache=True)
    for name in ("result.json", "checkpoints/step-00000010/complete.json"):
        other.pipe_file(f"{place}/{name}", b"1")
    assert read_file(place, "result.json") == b"1" and folder.newest() == f"{place}/checkpoints/step-00000010"


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("s3://no-such-bucket/run", "The specified bucket does not exist"), ("s3://", "Parameter validation failed"),
        ("foo://bucket/run", "Protocol not known: foo"), ("gs://bucket/run", "install gcsfs"), ("http://127.0.0.1:9/run", ""),
    ],
)  # fmt: skip
def test_a_place_that_takes_nothing_is_one_line_before_anything_starts(place: str, said: str, store: Store) -> None:
    with pytest.raises(InputError) as refused:
        check_writable(place)
    assert "--output: must be a place that answers, but got" in str(refused.value) and said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_store_without_the_right_login_is_one_line(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = store.bucket()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with fresh_clients(), pytest.raises(InputError, match="Unable to locate credentials"):
        check_writable(f"{place}/run")


def test_a_login_without_the_right_is_one_line(store: Store) -> None:
    place = store.bucket()
    with asking_for_rights(store), fresh_clients(), pytest.raises(InputError) as refused:
        check_writable(f"{place}/run")
    assert "PermissionError" in str(refused.value) and "\n" not in str(refused.value) and SECRET not in str(refused.value)


@contextlib.contextmanager
def asking_for_rights(store: Store) -> Iterator[None]:
    """As moto's server has it: after so many requests it asks who may do what, and nobody may do anything."""
    for count in (0, 10**9):
        request = urllib.request.Request(
            f"{store.address}/moto-api/reset-auth", str(count).encode(), {"Content-Type": "text/plain"}
        )
        urllib.request.urlopen(request).close()
        if not count:
            yield


def test_what_was_tried_leaves_nothing_behind(store: Store) -> None:
    place = store.bucket()
    check_writable(f"{place}/run")
    assert filesystem(place)[0].find(place) == []
