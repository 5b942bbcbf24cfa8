"""Latents on disk, encoded once for all runs that have the same data and the same autoencoder.

A file is named after a digest of all that its content depends on, and ends with a checksum of its name and its content. It is
written under a passing name and renamed, so that runs may share a folder: whoever comes second waits for the first, or, on a file
system without locks, writes the same again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from torch import Tensor, nn

from dualsweep.trainer.data.examples import IN_MEMORY_BYTES

#: What the names of files begin from: another one where what is kept is made or written in another way.
FORMAT = "dualsweep-latents-1"
#: The environment variable that names the folder; empty for no cache.
VARIABLE = "DUALSWEEP_LATENTS"
#: Files that were not used for longest go when there is more than this.
MOST_BYTES = 50 * 2**30
#: A file under a passing name that was written to within this time may still have its writer.
_WRITTEN_SECONDS = 3600

_KEPT, _ASIDE, _PASSING, _LOCK = ".latents", ".broken", ".part", ".lock"
_CHECKSUM = hashlib.sha256().digest_size
_BLOCK = 2**24
log = logging.getLogger(__name__)


def folder() -> Path | None:
    """Where latents are kept: as `DUALSWEEP_LATENTS` says, else in the user's cache as the system has it; None for nowhere.

    Raises:
        OSError: the user has no home.
    """
    given = os.environ.get(VARIABLE)
    if given is not None and not given:
        return None
    own = "~/Library/Caches" if sys.platform == "darwin" else os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(given or f"{own}/dualsweep/latents").expanduser()
    except RuntimeError as error:
        raise OSError(str(error)) from error


def setting(device: torch.device) -> list[object]:
    """All that the last bits of what a network gives depend on beside itself and what it is asked."""
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    numbers = [device.type, where, torch.get_num_threads(), torch.get_float32_matmul_precision(), torch.__version__]
    return [*numbers, torch.backends.cudnn.allow_tf32, diffusers.__version__]


def add_weights(digest: Any, module: nn.Module) -> None:
    """Adds a network's weights to a digest of hashlib's, that what it makes is named after."""
    for name, weight in sorted(module.state_dict().items()):
        digest.update(repr((name, weight.dtype, weight.shape)).encode())
        digest.update(weight.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def kept(name: str, shape: tuple[int, ...], encode: Callable[[], Iterator[Tensor]]) -> Tensor | None:
    """The latents `name` of `shape`, [N, ...], float32 on the CPU; mapped from their file where they are more than memory is for.

    Where there are none yet, `encode` yields them in order, in parts. None where they cannot be kept, with a warning unless that
    is wanted.
    """
    try:
        place = folder()
        if place is None:
            return None
        path = place / f"{name}{_KEPT}"
        latents = _read(path, shape)
        if latents is None:
            place.mkdir(parents=True, exist_ok=True)
            with _alone(path.with_suffix(_LOCK)):
                latents = _read(path, shape)  # another run's, by now
                if latents is None:
                    _set_aside(path)
                    _write(path, math.prod(shape) * 4, encode())
                    _make_room(path)
                    latents = _read(path, shape)
        return latents
    except OSError as error:
        log.warning("latents cannot be kept (%s) and are encoded in each run; %s names another folder", error, VARIABLE)
        return None


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time; the system lets go of the lock of one that dies."""
    with lock.open("wb") as file:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _checksum(path: Path) -> Any:
    return hashlib.sha256(path.name.encode())


def _read(path: Path, shape: tuple[int, ...]) -> Tensor | None:
    """What the file holds, if it is whole and of this name."""
    size, digest = math.prod(shape) * 4, _checksum(path)
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size != size + _CHECKSUM:
                return None
            content = np.memmap(file, np.float32, "c", shape=shape)  # "c": a page that is written to stays this process's own
    except FileNotFoundError:
        return None
    flat = content.reshape(-1)
    for start in range(0, len(flat), _BLOCK):
        digest.update(flat[start : start + _BLOCK])
    with path.open("rb") as file:
        file.seek(size)
        if file.read() != digest.digest():
            return None
    with contextlib.suppress(OSError):  # of a folder that others may only read
        os.utime(path)
    return torch.from_numpy(np.array(content) if size <= IN_MEMORY_BYTES else content)


def _set_aside(path: Path) -> None:
    if path.exists():
        aside = path.replace(path.with_suffix(_ASIDE))
        log.warning("latents in %s are damaged or of something else; they are set aside as %s and encoded anew", path, aside.name)


def _write(path: Path, size: int, parts: Iterator[Tensor]) -> None:
    """Writes a file whole or not at all; a disk without room for it is told before anything is encoded."""
    handle, name = tempfile.mkstemp(_PASSING, f"{path.stem}-", path.parent)
    digest = _checksum(path)
    try:
        with os.fdopen(handle, "wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle, 0, size + _CHECKSUM)
            for part in parts:
                content = part.float().contiguous().numpy().data
                file.write(content)
                digest.update(content)
            file.write(digest.digest())
            file.flush()
            os.fsync(handle)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _make_room(newest: Path) -> None:
    """Removes what was not used for longest, as far as there is too much; who has it mapped keeps it.

    Other runs write, rename and remove files here meanwhile. What one of them may still be writing stays.
    """
    used: list[tuple[float, int, Path]] = []
    for file in newest.parent.iterdir():
        if file.suffix in (_KEPT, _ASIDE, _PASSING) and file != newest:
            with contextlib.suppress(OSError):  # gone by now
                state = file.stat()
                used.append((state.st_mtime, state.st_size, file))
    left = MOST_BYTES - newest.stat().st_size
    for when, size, file in sorted(used, reverse=True):
        left -= size
        if left < 0 and not (file.suffix == _PASSING and time.time() - when < _WRITTEN_SECONDS):
            with contextlib.suppress(OSError):  # another user's
                file.unlink(missing_ok=True)
