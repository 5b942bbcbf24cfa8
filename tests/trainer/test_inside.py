"""Names from a checkpoint or a run never leave their folder, for reading or writing: attacks by spelling and by links."""

from __future__ import annotations

import json
import os
from pathlib import Path

import fsspec
import pytest

from dualsweep.sweeps.tracking.models import _deliver
from dualsweep.trainer.checkpoint import CheckpointFolder, read
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.storage import OutsideError, as_file_name, filesystem, inside, lies_below, read_file
from tests.trainer.test_checkpoint import snapshot

OUTSIDE = ["../secret", "a/../../secret", "/etc/hostname", "", ".", "..", "a//b", "./a", "..\\secret", "C:\\secret", "a/", "file:///etc/x",
           "s3://bucket/x", "a\0b", 3, None, "~/../x/.."]  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("scheme", ["", "memory://run"])
def test_a_name_that_leads_out_is_refused_whatever_the_store(tmp_path, name, scheme):
    files, root = filesystem(scheme or str(tmp_path))
    with pytest.raises(OutsideError, match=r"must lie in that run's folder, but got .*; it was made to reach other files"):
        inside(files, root, name)


@pytest.mark.parametrize("name", ["unet/config.json", "recipe.yaml", "..a", "a b/é.txt", "training/a-1.safetensors", "...json"])
def test_names_of_files_below_are_taken(tmp_path, name):
    files, root = filesystem(str(tmp_path))
    assert inside(files, root, name) == f"{tmp_path}/{name}"


def attacked(folder: Path, name: str) -> Path:
    """A checkpoint whose list names a file beside it, as `complete.json` was seen to."""
    run = CheckpointFolder(str(folder / "run"))
    run.save(snapshot(1))
    run.flush()
    (folder / "secret").write_text("secret")
    checkpoint = folder / "run" / "step-00000001"
    sizes = json.loads((checkpoint / "complete.json").read_text())
    (checkpoint / "complete.json").write_text(json.dumps({**sizes, name: 6}))
    return checkpoint


@pytest.mark.parametrize("name", ["../../secret", "{folder}/secret", "training/../../../secret"])
def test_a_checkpoint_that_lists_what_is_beside_it_is_neither_read_nor_delivered(tmp_path, name):
    checkpoint = attacked(tmp_path, name.format(folder=tmp_path))
    with pytest.raises(TrainingError, match="must lie in that run's folder"):
        read(str(checkpoint))
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    before = {*tmp_path.rglob("*")}
    (tmp_path / "secret").write_text("changed")
    assert not _deliver(str(checkpoint), tmp_path / "a" / "b" / "c" / "into")
    assert {*tmp_path.rglob("*")} == before and (tmp_path / "secret").read_text() == "changed"


def test_a_link_out_of_a_run_is_not_followed(tmp_path):
    checkpoint = attacked(tmp_path, "recipe.yaml")
    (checkpoint / "recipe.yaml").unlink()
    (checkpoint / "recipe.yaml").symlink_to(tmp_path / "secret")
    for way in (lambda: read(str(checkpoint)), lambda: read_file(str(checkpoint), "recipe.yaml")):
        with pytest.raises(TrainingError, match="must lie in that run's folder"):
            way()
    assert not _deliver(str(checkpoint), tmp_path / "into")
    (tmp_path / "linked").symlink_to(tmp_path / "run")  # where the run itself lies is the user's to say
    assert read_file(str(tmp_path / "linked" / "step-00000001"), "state.json")


def test_what_is_in_a_folder_that_is_sent_is_looked_at_too(tmp_path):
    folder = tmp_path / "run" / "artifacts"
    folder.mkdir(parents=True)
    (folder / "a.png").touch()
    assert lies_below(folder, tmp_path / "run") and not lies_below(tmp_path, tmp_path / "run")
    (folder / "b.png").symlink_to("/etc/hostname")
    assert not lies_below(folder, tmp_path / "run") and not lies_below(folder / "b.png", tmp_path / "run")


@pytest.mark.parametrize(
    "name, safe", [("..", "-"), ("", "-"), ("../x", "-x"), (".ssh", "ssh"), ("a/b", "a-b"), ("a" * 300, "a" * 100)]
)
def test_a_name_becomes_one_file_name(name, safe):
    assert as_file_name(name) == safe and os.sep not in safe


@pytest.mark.parametrize(
    "content", [b"[]", b"{}", b"3", b'"a"', b"null", b'{"state.json": 2}', b'{"training/a.safetensors": 2}', b"[" * 9999]
)
def test_a_list_of_files_that_is_none_is_told(tmp_path, content):
    checkpoint = attacked(tmp_path, "recipe.yaml")
    (checkpoint / "state.json").write_text("[]")
    (checkpoint / "training" / "a.safetensors").write_text("xx")
    (checkpoint / "complete.json").write_bytes(content)
    with pytest.raises(TrainingError, match="a checkpoint must hold"):
        read(str(checkpoint))


def test_a_list_behind_a_uri_stays_there_as_well():
    folder = CheckpointFolder("memory://attacked/run")
    folder.save(snapshot(1))
    folder.flush()
    files = fsspec.filesystem("memory")
    files.pipe_file("/attacked/secret", b"secret")
    files.pipe_file("/attacked/run/step-00000001/complete.json", b'{"../../secret": 6}')
    with pytest.raises(TrainingError, match="must lie in that run's folder"):
        read("memory://attacked/run/step-00000001")
