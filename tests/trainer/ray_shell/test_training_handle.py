"""A training that its workers broke off is told once: the error, the user's own line, and where all of it is."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.exceptions import OutOfMemoryError, RayTaskError

from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.ray_shell.job import Job
from dualsweep.trainer.ray_shell.training_handle import Training
from tests.trainer.recipes import digits


class Slots:
    """Their one slot's workers end every training with the same error, as one that exceeds what a library takes does."""

    nodes = ()

    def __init__(self) -> None:
        self.tried = 0

    def taking(self, resources: object) -> Slots:
        return self

    def reports(self, job: Job, *, kept: bool) -> Iterator[Any]:
        self.tried += 1
        yield {"step": self.tried}
        try:
            json.loads("{")
        except ValueError as error:
            raise RayTaskError("step", traceback.format_exc(), error) from None

    def kill(self) -> None: ...


class Crowded(Slots):
    """Their workers are ended by Ray each time, as the node's memory runs out."""

    def reports(self, job: Job, *, kept: bool) -> Iterator[Any]:
        self.tried += 1
        yield {"step": self.tried}
        raise OutOfMemoryError("Task was killed due to the node running low on memory.\nMemory on the node was 15 GB / 16 GB")


def reason(output: Path, slots: Slots | None = None) -> tuple[str, int]:
    """What it fails with, and how often it was tried."""
    slots = slots or Slots()
    job = Job(digits().model_dump(mode="json"), str(output), str(output), "", 1, str(output), False)
    with pytest.raises(TrainingError) as failed:
        list(Training(job, slots).reports())  # type: ignore[arg-type]  # as far as it matters here
    return str(failed.value), slots.tried


def test_an_error_inside_a_library_is_told_once_with_its_type_its_message_the_own_line_and_the_place_of_the_trace(
    tmp_path: Path,
) -> None:
    told, tried = reason(tmp_path)
    error = "json.decoder.JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
    own = re.escape(__file__) + r":\d+ in reports"
    assert re.fullmatch(re.escape(f"{error} (all of it is in {tmp_path}/error.txt; raised at ") + own + r"\)", told), told
    whole = (tmp_path / "error.txt").read_text()
    assert "json/decoder.py" in whole and "JSONDecodeError" in whole and tried == 2


def test_a_node_that_runs_out_of_memory_each_time_is_told_with_what_asks_for_less(tmp_path: Path) -> None:
    told, tried = reason(tmp_path, Crowded())
    assert told.startswith("a primal step must fit into the memory of a worker, but got `Task was killed due to the node running")
    assert "train.accumulate: 2" in told and "train.batch_size below" in told and "\n" not in told
    assert tried == 1 + digits().resources.retries, "the memory may have been others'"


def test_a_full_disk_does_not_hide_the_workers_own_error(tmp_path: Path) -> None:
    (tmp_path / "error.txt.part").symlink_to("/dev/full")
    told, _ = reason(tmp_path)
    assert told.startswith("json.decoder.JSONDecodeError: Expecting property name")
    assert "error.txt could not be written: No space left on device" in told and "all of it" not in told
