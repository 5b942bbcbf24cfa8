"""The files of a training that are brought to this machine when it has ended."""

from __future__ import annotations

import logging
import posixpath

from dualsweep.trainer.patient_files import StoreAwayError
from dualsweep.trainer.storage import read_file

_log = logging.getLogger(__name__)


def brought(place: str, file: str) -> bytes | None:
    """A file of `place`, a folder or URI; None where there is none, or where its store is away, which is said."""
    try:
        return read_file(place, file)
    except StoreAwayError as error:
        _log.warning("%s is left out of MLflow: %s", posixpath.join(place, file), error)
        return None
