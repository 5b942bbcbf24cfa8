"""Whatever the files hold that a sweep wrote: each is named and set aside, the rest goes on, and there is never a traceback."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.sweeps.studies.storage import open_storage
from dualsweep.trainer.own_files import DAMAGED
from tests.sweeps.here import dualsweep_here
from tests.sweeps.in_process import again

#: Of a sweep that has ended, what is read again by the same command.
READ = ["records/0001.json", "tracking.json", "sweep.json", "study.journal", "study.lock", "spool/0001.jsonl"]
GARBAGE = {
    "empty": b"", "noise": bytes(range(256)) * 8, "list": b"[]\n", "number": b"7\n", "null": b"null\n", "object": b"{}\n",
    "nested": b"[" * 200_000 + b"\n", "huge": b'{"number": 1e999, "op_code": "x"}\n',
}  # fmt: skip
KINDS = [*GARBAGE, "torn", "folder"]


def spoil(file: Path, kind: str) -> None:
    if kind == "folder":
        file.unlink()
        file.mkdir()
        (file / "kept").touch()
    else:
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) * 2 // 3] if kind == "torn" else GARBAGE[kind])


def results(folder: Path) -> dict[str, tuple[object, ...]]:
    return {
        each.id: (each.params, each.result.objective, each.result.status) for each in TrialRecord.load_all(folder / "runs" / "s")
    }


CASES = [("records/0001.json", "empty"), ("records/0001.json", "folder"), ("tracking.json", "torn"), ("sweep.json", "nested")]
CASES += [("study.lock", "folder"), ("spool/0001.jsonl", "folder")]


@pytest.mark.parametrize(
    ("name", "kind"),
    [*CASES, *(pytest.param(name, kind, marks=pytest.mark.dear) for name in READ[:3] for kind in KINDS)],
)
def test_a_damaged_file_costs_nothing_but_itself(
    name: str, kind: str, ended: Path, moved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = moved / "runs" / "s" / name
    spoil(file, kind)
    said = again(moved) + caplog.text
    assert results(moved) == results(ended)
    assert f"{file} is damaged" in said and "Traceback" not in said
    assert file.with_name(file.name + DAMAGED).exists()


@pytest.mark.parametrize("kind", ["empty", "torn", *(pytest.param(kind, marks=pytest.mark.dear) for kind in KINDS)])
def test_how_a_training_ended_is_asked_again_of_who_knows(kind: str, moved: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A result that is damaged in one place is read in the next one."""
    folder = moved / "runs" / "s"
    before = results(moved)
    for name in ("records/0001.json", "records/0001/seed-0.json", "artifacts/0001/seed-0/result.json"):
        spoil(folder / name, kind)
    again(moved)
    assert results(moved) == before
    assert caplog.text.count("is damaged") == 3


def test_what_no_file_tells_of_has_failed(moved: Path) -> None:
    folder = moved / "runs" / "s"
    for file in [*folder.glob("records/0001*"), folder / "artifacts", folder / "trials"]:
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    assert dualsweep_here("sweep", "sweep.yaml", folder=moved).returncode == 3
    [_, lost] = TrialRecord.load_all(folder)
    assert lost.result.status == "failed" and "no other file tells" in lost.result.reason


@pytest.mark.parametrize("kind", ["noise", "nested", "list", "folder", "line", "last", "empty", "gone", "link"])
def test_a_damaged_study_is_asked_again_for_what_the_records_know(kind: str, moved: Path) -> None:
    from dualsweep.sweeps.planning.load import load_plan
    from dualsweep.sweeps.studies.study import Study

    journal = moved / "runs" / "s" / "study.journal"
    url = f"journal:///{journal}"
    plan = load_plan(moved / "sweep.yaml")
    with Study(plan, journal.parent) as study:
        before = [(each.number, each.params) for each in study.ended()]
    if kind in ("line", "last"):
        lines = journal.read_bytes().splitlines(keepends=True)
        lines[len(lines) // 2 if kind == "line" else -1] = b'{"op_co\n'
        journal.write_bytes(b"".join(lines))
    elif kind in ("gone", "link"):
        journal.unlink()
        if kind == "link":
            journal.symlink_to("nowhere")
    else:
        spoil(journal, kind)
    with Study(plan, journal.parent) as study:
        assert [(each.number, each.params) for each in study.unfinished()] == before  # until the records tell it
        assert study.remaining == 0 and open_storage(url, held=False).get_all_studies()
    assert os.path.lexists(journal.with_name(journal.name + DAMAGED)) == (kind not in ("empty", "gone"))


@pytest.mark.parametrize(
    ("name", "kind"),  # the first lines of a recipe are a recipe
    [*(("result.json", kind) for kind in KINDS), *(("recipe.yaml", kind) for kind in KINDS if kind != "torn")],
)
def test_explain_names_what_is_damaged(name: str, kind: str, moved: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = moved / "runs" / "s" / "artifacts" / "0001" / "seed-0" / name
    spoil(file, kind)
    said = dualsweep_here("explain", "runs/s/trials/0001/seed-0", folder=moved)
    assert said.returncode == 2 and f"{file} is damaged" in caplog.text and "must be a training that has ended" in said.stderr


def test_what_cannot_be_set_aside_is_named_all_the_same(moved: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As on a place that takes no writing; here the name beside is as long as names may be."""
    file = moved / "runs" / "s" / "records" / f"{'1'.zfill(250)}.json"
    (moved / "runs" / "s" / "records" / "0001.json").rename(file)
    file.write_text(json.dumps([]))
    assert len(TrialRecord.load_all(file.parent.parent)) == 1
    assert "it could not be set aside: File name too long" in caplog.text
