"""Checkpoints: one unit, only complete ones are read, old ones go, any fsspec place."""

import contextlib
import errno
import json
import os
import uuid
from pathlib import Path

import fsspec
import pytest
import torch
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from dualsweep.trainer.checkpoint import CheckpointFolder, Snapshot, read
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.own_files import set_aside
from dualsweep.trainer.patient_files import PatientFiles, StoreAwayError


def snapshot(step, value=1.0):
    groups = {"weights": {"a": torch.full((2, 3), value)}, "optimizer": {"0.step": torch.tensor(4.0)}}
    return Snapshot(step, groups, {"dual": {"x": [1, 2]}, "end": None}, {"unet/config.json": b"{}", "recipe.yaml": b"a: 1"})


@pytest.fixture(params=["folder", "memory"])
def uri(request, tmp_path):
    return str(tmp_path / "run" / "checkpoints") if request.param == "folder" else f"memory://{uuid.uuid4()}/checkpoints"


def test_what_is_saved_is_read_back(uri):
    folder = CheckpointFolder(uri)
    assert folder.latest() is None
    folder.save(snapshot(5))
    folder.flush()
    back = CheckpointFolder(uri).latest()
    assert back is not None
    assert back.step == 5 and back.state == {"dual": {"x": [1, 2]}, "end": None}
    assert torch.equal(back.groups["weights"]["a"], torch.ones(2, 3)) and back.groups["optimizer"]["0.step"].shape == ()
    assert back.files["unet/config.json"] == b"{}"


@pytest.mark.parametrize("keep, left", [(1, [4]), (2, [3, 4])])
def test_only_the_newest_stay(uri, keep, left):
    folder = CheckpointFolder(uri, keep)
    for step in range(1, 5):
        folder.save(snapshot(step))
    folder.flush()
    files, root = fsspec.core.url_to_fs(uri)
    assert sorted(int(each.rstrip("/")[-8:]) for each in files.ls(root, detail=False)) == left


def test_an_interrupted_checkpoint_is_never_read(uri):
    folder = CheckpointFolder(uri, keep=3)
    folder.save(snapshot(1, 1.0))
    folder.save(snapshot(2, 2.0))
    folder.flush()
    files, root = fsspec.core.url_to_fs(uri)
    files.rm(f"{root}/step-00000002/complete.json")
    assert (latest := folder.latest()) and latest.step == 1
    with pytest.raises(TrainingError, match="interrupted"):
        read(folder.path(2))
    folder.save(snapshot(2, 3.0))  # the resumed run writes it again
    folder.flush()
    assert (latest := folder.latest()) and latest.groups["weights"]["a"][0, 0] == 3.0


def flipped(data):
    return data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]


FILES = ["training/weights.safetensors", "training/optimizer.safetensors", "state.json", "recipe.yaml", "unet/config.json"]
DAMAGES = {
    "flipped": flipped,
    "short": lambda data: data[:-3],
    "longer": lambda data: data + b"x",
    "zeroed": lambda data: bytes(len(data)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("name", [*FILES, "complete.json"])
def test_a_damaged_checkpoint_is_refused_and_passed_over_for_the_one_before(uri, name, damage, caplog):
    folder = CheckpointFolder(uri, keep=2)
    for step in (1, 2):
        folder.save(snapshot(step))
    folder.flush()
    files, root = fsspec.core.url_to_fs(uri)
    path = f"{root}/step-00000002/{name}"
    files.pipe_file(path, damage(files.cat_file(path)))
    with pytest.raises(TrainingError, match=r"a checkpoint('s files)? must .*take an earlier one"):
        read(folder.path(2))
    assert (latest := folder.latest()) and latest.step == 1 and "step-00000002" in caplog.text
    assert folder.newest() == folder.path(1) and files.exists(f"{root}/step-00000002/complete.json.damaged")
    set_aside(folder.path(2), "complete.json", "another worker has seen it too")
    assert files.exists(f"{root}/step-00000002/complete.json.damaged")
    folder.save(snapshot(2))  # the resumed run comes there again
    folder.flush()
    assert (latest := folder.latest()) and latest.step == 2
    assert not files.exists(f"{root}/step-00000002/complete.json.damaged")


def test_a_file_that_is_gone_is_told(uri):
    folder = CheckpointFolder(uri)
    folder.save(snapshot(1))
    folder.flush()
    files, root = fsspec.core.url_to_fs(uri)
    files.rm(f"{root}/step-00000001/training/weights.safetensors")
    with pytest.raises(TrainingError, match=r"must hold the files that its complete\.json lists"):
        read(folder.path(1))


def test_where_the_only_one_is_damaged_there_is_none_and_what_cannot_be_read_for_now_is_no_damage(tmp_path, monkeypatch, caplog):
    folder = CheckpointFolder(str(tmp_path))
    folder.save(snapshot(1))
    folder.flush()

    def refused(self, path, *_, **__):
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    with monkeypatch.context() as away:
        away.setattr(LocalFileSystem, "cat_file", refused)
        with pytest.raises(TrainingError, match="Input/output error"):
            folder.latest()
    assert (latest := folder.latest()) and latest.step == 1
    (tmp_path / "step-00000001/state.json").unlink()
    assert folder.latest() is None and folder.newest() is None and "or a new beginning" in caplog.text


def test_a_checkpoint_of_0_1_says_sizes_alone(uri):
    folder = CheckpointFolder(uri)
    folder.save(snapshot(1))
    folder.flush()
    files, root = fsspec.core.url_to_fs(uri)
    marker = f"{root}/step-00000001/complete.json"
    files.pipe_file(
        marker, json.dumps({name: said["bytes"] for name, said in json.loads(files.cat_file(marker)).items()}).encode()
    )
    assert (latest := folder.latest()) and latest.step == 1
    path = f"{root}/step-00000001/state.json"
    files.pipe_file(path, files.cat_file(path)[:-1])
    with pytest.raises(TrainingError, match="as they were written"):
        read(folder.path(1))


def test_files_are_on_the_disk_before_the_checkpoint_counts(tmp_path, monkeypatch):
    """Each file has been synced, `complete.json` last: what a loss of power leaves is whole, or doesn't count."""
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(str(Path(f"/proc/self/fd/{handle}").readlink())))
    folder = CheckpointFolder(str(tmp_path))
    folder.save(snapshot(1))
    folder.flush()
    written = {str(path) for path in tmp_path.rglob("*") if path.is_file()}
    assert set(synced) == written and synced[-1].endswith("complete.json")


def test_what_went_wrong_in_the_background_is_raised(tmp_path):
    (tmp_path / "file").write_text("in the way")
    folder = CheckpointFolder(str(tmp_path / "file" / "checkpoints"))
    folder.save(snapshot(1))
    with pytest.raises(OSError):
        folder.flush()


class Leaving(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A store that is away for the `rm` of an old checkpoint's rest, and again when something is written after that."""

    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.removals, self.left = 0, False

    def rm(self, path, recursive=False, maxdepth=None):
        self.removals += 1
        if self.removals == 2:  # the first is that of its last file
            self.left = True
            raise StoreAwayError("the store does not answer")
        super().rm(path, recursive=recursive, maxdepth=maxdepth)

    def pipe_file(self, path, value, **options):
        if self.left:
            raise StoreAwayError("the store does not answer")
        super().pipe_file(path, value, **options)


def test_a_checkpoint_stays_where_the_store_leaves_while_the_one_before_is_cleaned_up():
    folder = CheckpointFolder(f"memory://{uuid.uuid4()}/checkpoints")
    folder.save(snapshot(1))
    folder.flush()
    folder._files = PatientFiles(Leaving())
    folder.save(snapshot(2, 2.0))
    with contextlib.suppress(StoreAwayError):
        folder.flush()
    assert (latest := folder.latest()) and latest.step == 2 and latest.groups["weights"]["a"][0, 0] == 2.0
    folder._files._files.left = False
    folder.save(snapshot(3, 3.0))
    folder.flush()
    assert [each[-8:] for each in folder._files.ls(folder._root, detail=False)] == ["00000003"], (
        "what was left is cleaned up later"
    )


def test_a_checkpoint_that_is_there_is_not_written_again():
    folder = CheckpointFolder(f"memory://{uuid.uuid4()}/checkpoints")
    folder.save(snapshot(2, 2.0))
    folder.flush()
    folder._files = PatientFiles(Leaving())
    folder._files._files.left = True
    folder.save(snapshot(2, 2.0))
    folder.flush()
    assert (latest := folder.latest()) and latest.step == 2
    folder = CheckpointFolder(folder.uri)
    folder.save(snapshot(2, 3.0))
    folder.flush()
    assert (latest := folder.latest()) and latest.groups["weights"]["a"][0, 0] == 3.0


def test_nothing_in_a_checkpoint_needs_unpickling(tmp_path):
    folder = CheckpointFolder(str(tmp_path))
    folder.save(snapshot(1))
    folder.flush()
    kinds = {path.suffix for path in tmp_path.rglob("*") if path.is_file()}
    assert kinds <= {".safetensors", ".json", ".yaml"}
    json.loads((tmp_path / "step-00000001" / "complete.json").read_text())
