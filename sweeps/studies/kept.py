"""Where a sweep's study is kept, and what the sweep's other files know of it where it was damaged."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.planning.study_address import JOURNAL as SCHEME
from dualsweep.sweeps.planning.study_address import file_of
from dualsweep.sweeps.records.trial_record import TrialRecord, recorded
from dualsweep.sweeps.records.trial_start import ATTRIBUTE as START
from dualsweep.sweeps.records.trial_start import ProposedTrial
from dualsweep.sweeps.studies.samplers import distributions, kept_params
from dualsweep.sweeps.studies.storage import StorageError, open_storage
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.own_files import DAMAGED, GARBAGE, read_own
from dualsweep.trainer.storage import write_file

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

JOURNAL = "study.journal"
#: Names the study in a storage of the user's, which may hold others.
STUDY = "study.json"
#: What the study was begun with, beside it: one that is lost is made again for the same problem alone.
BEGUN_WITH = "plan.json"


def kept_at(plan: Plan, output: Path) -> tuple[str, str]:
    """The storage's URL and the study's name in it: the sweep's own where the storage may hold others.

    Raises:
        StorageError: the sweep was begun in another storage.
    """
    journal = output / JOURNAL
    kept = read_own(output / STUDY, _named)
    before = kept["storage"] if kept else str(journal) if journal.exists() else None
    here = str(journal) if plan.storage is None else masked(plan.storage)
    if before is not None and before != here and not _was_moved(plan, kept):
        raise StorageError("must stay as it was when this sweep began", f"{here}, where it was {before}", "put it back")
    if plan.storage is None:
        return f"{SCHEME}{journal.absolute()}", plan.name
    if kept is None or before != here:
        kept = {"storage": here, "study": kept["study"] if kept else f"{plan.name}-{uuid.uuid4().hex[:8]}"}
        write_file(output / STUDY, json.dumps(kept))
    return plan.storage, kept["study"]


def _named(text: bytes) -> dict[str, str]:
    plain = json.loads(text)
    if not (isinstance(plain["storage"], str) and isinstance(plain["study"], str)):
        raise TypeError(f"a study must have a storage and a name, but got {plain!r}")
    return {"storage": plain["storage"], "study": plain["study"]}


def _was_moved(plan: Plan, kept: Mapping[str, str] | None) -> bool:
    """Whether the storage that the plan names now holds the sweep's study, whose name no other has."""
    if plan.storage is None or kept is None:
        return False
    file = file_of(plan.storage)
    if file is not None and not file.exists():
        return False
    return kept["study"] in {each.study_name for each in open_storage(plan.storage, held=False).get_all_studies()}


def was_damaged(output: Path) -> bool:
    """Whether the study was set aside, so that another one was begun."""
    return any((output / f"{name}{DAMAGED}").exists() for name in (JOURNAL, STUDY))


def begun_with(output: Path) -> dict[str, Any] | None:
    """The fingerprint of the plan with which the sweep began, as `keep_begun_with` kept it; None where that is not known."""
    return read_own(output / BEGUN_WITH, _fingerprint)


def keep_begun_with(output: Path, fingerprint: Mapping[str, Any]) -> None:
    """Keeps it for a study that is lost."""
    write_file(output / BEGUN_WITH, json.dumps(fingerprint))


def _fingerprint(text: bytes) -> dict[str, Any]:
    plain = json.loads(text)
    if not isinstance(plain, dict) or not isinstance(plain.get("recipe"), dict):
        raise TypeError(f"a plan must have a recipe, but got {str(plain)[:100]}")
    return plain


def begun(output: Path) -> set[int]:
    """The numbers of the trials that have left something: a record, a spool, or a folder."""
    names = {file.stem for file in (output / "spool").glob("*.jsonl")} | {each.name for each in (output / "trials").glob("*")}
    return set(recorded(output)) | {int(name) for name in names if name.isdecimal()}


def remembered(output: Path) -> dict[int, ProposedTrial]:
    """The trials that were asked for, by number, from their records, and of those that have not ended from their spools."""
    known = {each.number: ProposedTrial(each.number, dict(each.params), each.start) for each in TrialRecord.load_all(output)}
    for file in (output / "spool").glob("*.jsonl"):
        if file.stem.isdecimal() and int(file.stem) not in known:
            params = read_own(file, _params)
            if params is not None:
                known[int(file.stem)] = ProposedTrial(int(file.stem), params)
    return known


def _params(text: bytes) -> dict[str, Any] | None:
    """The parameters that a trial's spool tells of."""
    for line in text.splitlines():
        try:
            tags = json.loads(line)["tags"]
            return dict(json.loads(tags["dualsweep.params"]))
        except GARBAGE:
            continue
    return None


def asked_again(plan: Plan, trial: ProposedTrial) -> FrozenTrial:
    """A trial as the study had it when it was asked for.

    Raises:
        ValueError: its values are none of the plan's.
    """
    from optuna.trial import TrialState, create_trial

    begun = {} if trial.start is None else {START: trial.start.to_json()}
    return create_trial(
        state=TrialState.RUNNING, params=kept_params(plan, trial.params), distributions=distributions(plan), user_attrs=begun
    )
