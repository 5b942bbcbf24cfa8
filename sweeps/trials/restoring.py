"""Records that are lost are made again from what else tells how those trials ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.records.training_ends import load_ends
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.sweeps.records.trial_start import ProposedTrial
from dualsweep.sweeps.trials.runs import OpenTrial, Run, refused
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.own_files import read_own
from dualsweep.trainer.ray_shell.job import result_in
from dualsweep.trainer.result import Result, failed, read_result
from dualsweep.trainer.storage import RESULT


def restore(plan: Plan, ended: Sequence[ProposedTrial], place: str, folder: Path) -> None:
    """Writes the records that are missing of trials that the study knows to have ended.

    How one ended is in its training's own end, in the artifacts or in the training's output; where none of these tells, it counts
    as failed.
    """
    kept = {each.number for each in TrialRecord.load_all(folder)}
    for asked in ended:
        if asked.number not in kept:
            _restored(plan, asked, place, folder).save(folder)


def _restored(plan: Plan, asked: ProposedTrial, place: str, folder: Path) -> TrialRecord:
    try:
        trial = OpenTrial(plan, asked, load_ends(folder, asked.number, plan.seeds))
    except InputError as error:
        return TrialRecord(asked.number, asked.params, refused(error))
    for run in trial.waiting:
        trial.end(run, _end(run, place, folder))
    assert trial.record is not None
    return trial.record


def _end(run: Run, place: str, folder: Path) -> Result:
    said = read_own(folder / "artifacts" / run.folder / RESULT, read_result) or result_in(run.output(place))
    return said or failed("its record was damaged, and no other file tells how it ended")
