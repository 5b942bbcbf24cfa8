"""Whether a folder is a sweep's or a training's. Light: every command asks it first."""

from __future__ import annotations

from pathlib import Path

from dualsweep.trainer.storage import RESULT

#: What a review found of a sweep, and the records of its trials.
REVIEW, RECORDS = "review.json", "records"
#: Any of these is in a sweep's folder from its first moments, and in no other.
_SIGNS = (REVIEW, "sweep.json", "tracking.json", "study.lock", RECORDS)
#: The file of a training's folder that is there from its first moments.
_TRAINING = "fingerprint"


def is_sweep_folder(folder: Path) -> bool:
    """Whether a sweep's records lie in a folder, and no training's."""
    return any((folder / name).exists() for name in _SIGNS) and not (folder / RESULT).exists()


def other_kind(folder: Path, *, sweep: bool) -> str | None:
    """What a folder holds already, in words, where that is a training and a sweep is to go there, or the other way round."""
    if sweep:
        return "a training" if (folder / _TRAINING).exists() else None
    return "a sweep" if any((folder / name).exists() for name in _SIGNS) else None
