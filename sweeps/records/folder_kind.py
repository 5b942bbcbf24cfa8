"""Whether a folder is a sweep's or a training's. Light: every command asks it first."""

from __future__ import annotations

import posixpath
from pathlib import Path

from dualsweep.trainer.storage import RESULT, answering, filesystem, is_local

#: What a review found of a sweep, and the records of its trials.
REVIEW, RECORDS = "review.json", "records"
#: Any of these is in a sweep's folder from its first moments, and in no other.
_SIGNS = (REVIEW, "sweep.json", "tracking.json", "study.lock", RECORDS)
#: The trials' own folder; behind a URI it is there of a sweep alone.
_TRIALS = "trials"
#: Where trainings lie in a folder: it is one, its trials are, or they have several each.
_TRAININGS = ("", f"{_TRIALS}/*/", f"{_TRIALS}/*/*/")
#: The file of a training's folder that is there from its first moments.
_TRAINING = "fingerprint"


def is_sweep_folder(folder: Path) -> bool:
    """Whether a sweep's records lie in a folder, and no training's."""
    return any((folder / name).exists() for name in _SIGNS) and not (folder / RESULT).exists()


def trial_artifacts(folder: Path) -> Path | None:
    """Where a sweep on this machine keeps the result, the verdicts and the pictures of a trial, SWEEP/trials/0007, or of one of
    its trainings, SWEEP/trials/0007/seed-1, that has ended. None of any other folder.

    The trial's own folder need not be there: of a sweep whose output is a URI it is behind that.
    """
    trials = next((each for each in folder.parents[:2] if each.name == _TRIALS), None)
    kept = trials and trials.parent / "artifacts" / folder.relative_to(trials)
    return kept if kept and (kept / RESULT).is_file() else None


def has_trained(folder: Path) -> bool:
    """Whether a training of it, or of a sweep's trials, has come to a checkpoint: its model and parts have answered."""
    return any(next(folder.glob(f"{below}checkpoints/step-*"), None) is not None for below in _TRAININGS)


def other_kind(place: str, *, sweep: bool) -> str | None:
    """What a folder or URI holds already, in words, where that is a training and a sweep is to go there, or the other way round.

    Raises:
        BadPlaceError: it is a URI that can't be reached.
    """
    files, root = filesystem(place)
    signs, kind = ((_TRAINING,), "a training") if sweep else (_SIGNS if is_local(place) else (_TRIALS,), "a sweep")
    with answering(place):
        return kind if any(files.exists(posixpath.join(root, name)) for name in signs) else None
