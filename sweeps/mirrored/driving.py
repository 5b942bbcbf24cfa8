"""Where the driver of a run has its files: the output itself; of a URI a folder of this machine, which is mirrored there.

That folder lies in the user's state folder, by the URI. It may be lost with the machine: another begins with what is mirrored.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dualsweep.sweeps.mirrored.lease import Lease, numbers
from dualsweep.sweeps.mirrored.mirror import Driven, Here, Mirror
from dualsweep.sweeps.mirrored.objects import download, newest
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.uris import BadPlaceError, state_folder
from dualsweep.trainer.own_files import read_own
from dualsweep.trainer.storage import answering, as_file_name, filesystem, is_local, local_path, write_file

#: The file of a driver's folder with the greatest number it has had, and in which run; a driver elsewhere that has mirrored had a
#: greater one, or the run was deleted behind the URI and began anew.
_NUMBER = ".number"
Say = Callable[[str], None]


def working_folder(place: str) -> Path:
    """The folder of a driver on this machine: a local output itself, else one by the URI.

    Raises:
        BadPlaceError: a local place can't be meant.
    """
    return local_path(place) if is_local(place) else state_folder() / "outputs" / _key(place)


def _key(place: str) -> str:
    place = place.rstrip("/")
    return f"{as_file_name(posixpath.basename(masked(place)))}-{hashlib.sha256(place.encode()).hexdigest()[:16]}"


@contextmanager
def driving(place: str, say: Say) -> Iterator[Driven]:
    """The folder of a run's driver, for as long as the run goes on; behind a URI with all that any driver has mirrored.

    `say` takes a line for people, from any thread.

    Raises:
        InputError: another driver writes there.
        TrainingError: what is mirrored there can't be read.
    """
    if is_local(place):
        yield Here(local_path(place))
        return
    with answering(place):
        mirror = _mirror(place, say)
    try:
        yield mirror
    finally:
        if undelivered := mirror.close():
            say(undelivered)


def _mirror(place: str, say: Say) -> Mirror:
    files, root = filesystem(place)
    lease, folder = Lease.take(files, root, place, say), working_folder(place)
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    known, last = read_own(folder / _NUMBER, _numbered), newest(files, root)
    deleted = known is not None and (lease.number == 1 or lease.run not in ("", known[1]))
    elsewhere = last is not None and (known is None or deleted or last > known[0])
    if deleted or elsewhere:
        why = f"what was at {masked(place)} is deleted" if deleted else "another driver went on since this machine's last"
        _begin_anew(folder, why, say)
    if elsewhere:
        download(place, folder)
        say(f"what earlier drivers mirrored to {masked(place)} was brought to {folder}")
    folder.mkdir(exist_ok=True)
    write_file(folder / _NUMBER, json.dumps([lease.number, lease.run]))
    return Mirror(folder, place, files, root, lease, say)


def _numbered(text: bytes) -> tuple[int, str]:
    plain = json.loads(text)
    number, run = plain if isinstance(plain, list) else (plain, "")  # before runs had identities it was the number alone
    return int(number), str(run)


def _begin_anew(folder: Path, why: str, say: Say) -> None:
    """Sets aside what this machine has of a run that went on elsewhere, or was deleted there: one such folder is kept."""
    if folder.exists():
        aside = folder.with_name(f"{folder.name}.before")
        shutil.rmtree(aside, ignore_errors=True)
        folder.replace(aside)
        say(f"{why}: what this machine had then is kept in {aside}")
    folder.mkdir(parents=True)


def brought(place: str) -> str:
    """A run's place for those that only read it: of a URI a copy of the driver's files, brought up to date, on this machine.

    Below a run, `s3://bucket/sweep/trials/0003` is that folder of its copy. Any other place is returned as it is.

    Raises:
        BadPlaceError: the URI can't be reached, or nothing of a run is there.
        TrainingError: what is mirrored there can't be read.
    """
    copy = brought_if_mirrored(place)
    if not is_local(copy):
        raise _no_run(place)
    return copy


def check_driven(place: str) -> None:
    """Refuses a URI that no run was ever written to, where nothing is to be begun.

    Raises:
        BadPlaceError: it is one, or can't be reached.
    """
    with answering(place):
        if not numbers(*filesystem(place)):
            raise _no_run(place)


def _no_run(place: str) -> BadPlaceError:
    remedy = "name the --output of a sweep or a training, or a trial below it: SWEEP/trials/0003"
    return BadPlaceError("must be where a run's driver has its files", repr(masked(place)), remedy)


def brought_if_mirrored(place: str) -> str:
    """`brought` of what may also be something else behind a URI, a checkpoint say, which is returned as it is.

    Raises:
        BadPlaceError: the URI can't be reached.
        TrainingError: what is mirrored there can't be read.
    """
    if is_local(place):
        return place
    above, below = place.rstrip("/"), ""
    for _ in range(4):  # SWEEP/trials/0003/seed-1
        copy = state_folder() / "read" / _key(above)
        with answering(above):
            if download(above, copy):
                return str(copy / below)
        above, _, name = above.rpartition("/")
        below = posixpath.join(name, below) if below else name
        if above.endswith(":/") or "://" not in above:
            break
    return place
