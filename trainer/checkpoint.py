"""Checkpoints: one unit (weights, averaged weights, optimiser, dual state, position), to a folder or any fsspec URI.

A checkpoint is a folder `step-00001500/`: a diffusers pipeline of the averaged weights (`model_index.json`, `unet/`,
`scheduler/`, where the model is a diffusers one), `training/*.safetensors`, `state.json`, `recipe.yaml` and, written last,
`complete.json`, with the size and the SHA-256 of every file. A folder without that last file was interrupted and is never read;
one whose files are not as it says is set aside for the one before, by its last file's name. Nothing needs unpickling.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import posixpath
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.own_files import set_aside
from dualsweep.trainer.patient_files import StoreAwayError
from dualsweep.trainer.storage import MARKER, answering, as_described, described, filesystem, inside, is_local, naming, step_of
from dualsweep.trainer.trust import remember

log = logging.getLogger(__name__)
#: Seconds between two looks whether the store that a checkpoint is being written to is away.
_LOOK = 0.1
#: Errors of files that are not where they were written; others are of a disk or a store, and may pass.
_ANOTHER_TREE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class DamagedError(TrainingError):
    """A checkpoint's files are not what was written: there is nothing to wait for."""


@dataclass(frozen=True)
class Snapshot:
    """All that a checkpoint holds: tensors by group, plain state, and small files beside them (path -> bytes)."""

    step: int
    groups: dict[str, dict[str, Tensor]]
    state: dict[str, Any]
    files: dict[str, bytes]


class CheckpointFolder:
    """The checkpoints of one run at `uri`. Only the newest `keep` complete ones stay."""

    def __init__(self, uri: str, keep: int = 1) -> None:
        self.uri, self._keep = uri, keep
        self._files, self._root = filesystem(uri)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[str] | Future[None] | None = None
        self._newest: Snapshot | None = None
        self._swapped = threading.Lock()
        self._old = set[int]()

    def save(self, snapshot: Snapshot) -> None:
        """Writes in the background; waits only for the checkpoint before it, and while a store does not answer for none.

        Of those that wait for it then, the newest alone is written.

        Raises:
            OSError: the checkpoint before could not be written, here.
        """
        if is_local(self.uri):
            self.flush()
            self._pending = self._writer.submit(self._write, snapshot)
            return
        while self._pending is not None and not self._files.away:
            with contextlib.suppress(TimeoutError):
                self._pending.result(_LOOK)
                self._pending = None
        with self._swapped:
            self._newest = snapshot
        self._pending = self._writer.submit(self._write_newest)

    def _write_newest(self) -> None:
        """Writes what was saved last, unless that was done; what a store that is away does not take waits for the next call."""
        with self._swapped:
            snapshot, self._newest = self._newest, None
        try:
            if snapshot is not None:
                self._write(snapshot)
        except StoreAwayError:
            log.warning("the checkpoint of step %d is not written: the store is away", snapshot.step if snapshot else 0)
            with self._swapped:
                self._newest = self._newest or snapshot  # a newer one has all that this one has

    def flush(self) -> None:
        """Waits until everything is written, and raises what went wrong."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
        if self._newest is not None:
            self._write(self._newest)
            self._newest = None

    def path(self, step: int) -> str:
        return posixpath.join(self.uri, f"step-{step:08d}")

    def latest(self) -> Snapshot | None:
        """The newest complete checkpoint that is as it was written, or None where there is none.

        Damaged ones are set aside: `complete.json` becomes `complete.json.damaged`.

        Raises:
            TrainingError: none of those that are not damaged can be read; it tells of the newest.
        """
        unreadable: TrainingError | None = None
        for step in reversed(self._complete()):
            try:
                return read(self.path(step))
            except TrainingError as error:
                log.warning("%s", masked(str(error)))
                if isinstance(error, DamagedError):
                    set_aside(self.path(step), MARKER, "its files are others; the one before is taken, or a new beginning made")
                else:
                    unreadable = unreadable or error
        if unreadable is not None:
            raise unreadable
        return None

    def newest(self) -> str | None:
        """Where the newest complete checkpoint is, or None."""
        steps = self._complete()
        return self.path(steps[-1]) if steps else None

    def _complete(self) -> list[int]:
        self._files.invalidate_cache()
        if not self._files.isdir(self._root):
            return []
        names = [posixpath.basename(each.rstrip("/")) for each in self._files.ls(self._root, detail=False)]
        steps = [step for name in names if (step := step_of(name)) is not None]
        return sorted(step for step in steps if self._files.isfile(self._inside(step, MARKER)))

    def _inside(self, step: int, *names: str) -> str:
        return posixpath.join(self._root, f"step-{step:08d}", *names)

    def _write(self, snapshot: Snapshot) -> str:
        content = {f"training/{name}.safetensors": save_tensors(tensors) for name, tensors in snapshot.groups.items()}
        content |= snapshot.files
        content["state.json"] = json.dumps({"step": snapshot.step, **snapshot.state}).encode()
        content[MARKER] = json.dumps({name: described(data) for name, data in content.items()}).encode()
        marker = self._inside(snapshot.step, MARKER)
        # One that is there as it is may be the only one: it is not taken away to be written again.
        if not self._files.isfile(marker) or self._files.cat_file(marker) != content[MARKER]:
            self._remove(snapshot.step)
            for name, data in content.items():
                self._put(self._inside(snapshot.step, name), data)
        remember(content, self.path(snapshot.step))
        self._clean_up(snapshot.step)
        return self.path(snapshot.step)

    def _clean_up(self, newest: int) -> None:
        """Removes what is older than is kept; what can't be removed now waits for the next time, and the newest is written."""
        try:
            self._old |= set([step for step in self._complete() if step < newest][: -self._keep + 1 or None])
            for step in sorted(self._old):
                self._remove(step)
                self._old.discard(step)
        except OSError as error:
            log.warning("checkpoints before step %d are left for now: %s", newest, error)

    def _remove(self, step: int) -> None:
        if self._files.isfile(self._inside(step, MARKER)):
            self._files.rm(self._inside(step, MARKER))  # first: a store deletes the rest in any order
        if self._files.isdir(self._inside(step)):
            self._files.rm(self._inside(step), recursive=True)

    def _put(self, path: str, data: bytes) -> None:
        if not is_local(self.uri):
            self._files.pipe_file(path, data)
            return
        with naming(path):
            self._files.makedirs(posixpath.dirname(path), exist_ok=True)
            with self._files.open(path, "wb") as stream:
                stream.write(data)
                _to_disk(stream)


def _to_disk(stream: Any) -> None:
    """What a local file holds outlives a loss of power from here on; other places do as they promise."""
    if isinstance(getattr(stream, "f", None), io.IOBase):
        stream.flush()
        os.fsync(stream.fileno())


def locate(place: str) -> str | None:
    """The checkpoint folder meant by `place`: itself, or the newest below a run's output or its `checkpoints`, or None.

    Raises:
        BadPlaceError: it is a URI that can't be reached.
    """
    files, root = filesystem(place)
    with answering(place):
        if files.exists(posixpath.join(root, MARKER)):
            return place
        for folder in (posixpath.join(place, "checkpoints"), place):
            newest = CheckpointFolder(folder).newest()
            if newest is not None:
                return newest
    return None


def read(uri: str) -> Snapshot:
    """Reads one checkpoint folder.

    Raises:
        DamagedError: the folder is no complete checkpoint, or a file of it is short, is none of ours or lies elsewhere.
        TrainingError: a file can't be read, though it is there.
    """
    files, root = filesystem(uri)
    marker = posixpath.join(root, MARKER)
    if not files.exists(marker):
        raise DamagedError(f"a checkpoint must hold {MARKER}, but {uri} has none; it was interrupted: take an earlier one")
    try:
        listed: dict[str, Any] = json.loads(files.cat_file(marker))
        if not isinstance(listed, dict):
            raise TypeError(f"it holds a {type(listed).__name__}")
        content = {name: files.cat_file(inside(files, root, name)) for name in listed}
        wrong = next((name for name, said in listed.items() if not as_described(content[name], said)), None)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        there = isinstance(error, OSError) and not isinstance(error, _ANOTHER_TREE)
        raise (TrainingError if there else DamagedError)(
            f"a checkpoint must hold the files that its {MARKER} lists, but got {type(error).__name__}: {error} in {uri}; "
            "take an earlier one"
        ) from None
    if wrong is not None:
        raise DamagedError(
            f"a checkpoint's files must be as they were written, but got {wrong} of {len(content[wrong])} bytes with other "
            f"content than {MARKER} says in {uri}; take an earlier one, or move that folder away"
        )
    try:
        return _snapshot(content)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise DamagedError(
            f"a checkpoint must hold state.json and safetensors, but got {type(error).__name__}: {error} in {uri}; "
            "take another one"
        ) from None


def _snapshot(content: dict[str, bytes]) -> Snapshot:
    state = json.loads(content.pop("state.json"))
    tensors = [name for name in content if name.startswith("training/")]
    groups = {posixpath.basename(name).removesuffix(".safetensors"): load_tensors(content.pop(name)) for name in tensors}
    return Snapshot(state.pop("step"), groups, state, content)
