"""That a cluster is gone is found within moments where it is ours, and told once; a cluster that is there is left alone."""

from __future__ import annotations

import queue
import shutil
import subprocess
from pathlib import Path

import pytest

from dualsweep.cluster import vitals
from dualsweep.cluster.vitals import watched
from tests.cluster.live.conftest import free_ports


@pytest.mark.parametrize(("program", "told"), [("gcs_server", "Ray's GCS has died"), ("raylet", "Ray's raylet has died")])
def test_a_server_of_ours_that_dies_is_told_once_after_the_rest_has_ended(program: str, told: str, tmp_path: Path) -> None:
    other, own = tmp_path / "other", tmp_path / program
    for each in (other, own):
        shutil.copy(shutil.which("sleep") or "", each)
    events: queue.Queue[object] = queue.Queue()
    with (
        subprocess.Popen([own, "60"]) as server,
        subprocess.Popen([other, "60"]) as another,
        watched(None, lambda *found: events.put(found), lambda: events.put("ended")),
    ):
        another.kill()
        with pytest.raises(queue.Empty):
            events.get(timeout=1.2)
        server.kill()
        assert (events.get(timeout=5), events.get(timeout=5)) == ("ended", (told, True))
        with pytest.raises(queue.Empty):
            events.get(timeout=1.2)


def test_a_joined_cluster_without_an_answer_is_gone_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vitals, "_JOINED", 0.1)
    monkeypatch.setattr(vitals, "_GONE", 1.0)
    [port] = free_ports(1)
    events: queue.Queue[tuple[str, bool]] = queue.Queue()
    with watched(f"127.0.0.1:{port}", lambda *found: events.put(found), lambda: None):
        text, own = events.get(timeout=20)
    assert f"no answer from the cluster at 127.0.0.1:{port}" in text and not own
