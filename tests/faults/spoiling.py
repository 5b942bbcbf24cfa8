"""What becomes of a sweep's files: a disk without room, and a newest checkpoint that is not what was written."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

#: Bytes of the disk on which a sweep's results lie that runs out of room.
ROOM = 64 << 20
#: What becomes of one of a checkpoint's files.
_SPOILT = ("flipped", "cut", "emptied", "removed")


def mountable() -> bool:
    """Whether this process may mount a file system, as a disk that is small takes."""
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of `ROOM` bytes at `folder`."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def without_room(folder: Path) -> Iterator[None]:
    """Its file system is full to the last byte, for as long as this lasts."""
    filler = folder / "filler"
    try:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            for size in (1 << 20, 1):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)):
                        pass
        yield
    finally:
        filler.unlink()


def spoil_newest(trials: Path, chance: random.Random) -> None:
    """Flips a bit of one file of the newest checkpoint of a trial that has not ended, cuts, empties or removes it.

    A trial that has none yet begins anew when its worker dies.
    """
    unfinished = [trial for trial in trials.iterdir() if not (trial / "result.json").exists()]
    newest = max((each for trial in unfinished for each in trial.glob("checkpoints/step-*")), default=None)
    if newest is None:
        return
    file = chance.choice(sorted(each for each in newest.rglob("*") if each.is_file() and each.stat().st_size))
    how, content = chance.choice(_SPOILT), bytearray(file.read_bytes())
    if how == "removed":
        file.unlink()
    elif how == "flipped":
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        file.write_bytes(content)
    else:
        os.truncate(file, len(content) // 2 if how == "cut" else 0)
