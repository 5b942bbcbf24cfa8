"""How each training of a trial ended, in the output folder, where a trial is several: `records/0007/seed-1.json`.

So whatever is killed, a training whose end is on the disk is never run again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from dualsweep.sweeps.records.folder_kind import RECORDS
from dualsweep.sweeps.records.trial_record import trial_name
from dualsweep.trainer.own_files import read_own
from dualsweep.trainer.result import Result, read_result
from dualsweep.trainer.storage import write_file


def save_end(output: Path, number: int, seed: int, result: Result) -> None:
    """Writes an end, whole or not at all."""
    file = _file(output, number, seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_file(file, json.dumps(result.to_json()))


def load_ends(output: Path, number: int, seeds: Iterable[int | None]) -> dict[int | None, Result]:
    """By seed, how the trainings of a trial ended, of those that have; nothing of a trial that is one training."""
    ended = {seed: read_own(_file(output, number, seed), read_result) for seed in seeds if seed is not None}
    return {seed: result for seed, result in ended.items() if result is not None}


def _file(output: Path, number: int, seed: int) -> Path:
    return output / RECORDS / trial_name(number) / f"seed-{seed}.json"
