"""A path of the user's data as it is on the disk. Plain Python: the checks use it."""

from __future__ import annotations

from pathlib import Path

from dualsweep.trainer.config.diagnostics import Keys
from dualsweep.trainer.data.class_names import composed
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.storage import BadPlaceError, local_path


def existing(place: str, keys: Keys) -> Path:
    """The path that `place` names: `~` is the home folder, and a name is found in its other Unicode form where it has that.

    Raises:
        BadDataError: it is of a user that this machine does not have, or a URI of another machine.
    """
    try:
        path = local_path(place) if place.startswith(("~", "file:")) else Path(place)
    except BadPlaceError as error:
        raise BadDataError(error.diagnostic.at(keys)) from None
    if path.exists():
        return path
    resolved = Path(path.anchor)
    for part in path.relative_to(path.anchor).parts:
        inner = resolved / part
        if not inner.exists() and resolved.is_dir():
            inner = next((each for each in sorted(resolved.iterdir()) if composed(each.name) == composed(part)), inner)
        resolved = inner
    return resolved if resolved.exists() else path
