"""The journal of a run: what `dualsweep status` and `dualsweep logs` say while trials run, restart, end and are broken off."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from dualsweep.cluster.job_files import job_stem
from dualsweep.sweeps import journal
from dualsweep.sweeps.cli import app
from dualsweep.sweeps.journal import Journal
from dualsweep.sweeps.progress import Progress
from dualsweep.sweeps.reports.live_status import SILENT, Story, log_of_this_machine, logs, of_folder, show


def report(step: int, slack: float, log: str) -> dict[str, Any]:
    metrics = {"objective": 0.5, "slack/four": slack, "slack/five": 0.3, "multiplier/four": 1.5, "multiplier/five": 0.0}
    points = [{"step": step, "metrics": metrics}]
    return {"step": step, "steps": 60, "seconds": 2.0 * step, "points": points, "node": f"node-of-{log}", "log": log}


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """The live state is written at each report, and not once a second."""
    monkeypatch.setattr(journal, "INTERVAL", 0.0)


@pytest.fixture
def progress(tmp_path: Path) -> Progress:
    """A sweep in whose middle we are: 0000 has ended, 0001 has lost its processes once, 0002 has only begun."""
    progress = Progress(Console(quiet=True), 3, 2, journal=Journal([f"{tmp_path}/"]))
    progress.started("0000", {"dual.step_size": 0.1})
    progress.reported("0000", report(60, 0.01, "a.out"))
    progress.ended("0000", "infeasible", "four is out of reach", 120.0, "violated")
    progress.started("0001")
    progress.reported("0001", report(20, -0.1, "a.out"))
    progress.reported("0001", report(10, -0.2, "b.out"))
    progress.started("0002")
    return progress


def rows(folder: Path, later: float = 0.0) -> dict[str, Any]:
    return {row["trial"]: row for row in of_folder(folder).trainings(time.time() + later)}


def test_every_trial_is_told_as_it_stands(progress: Progress, tmp_path: Path) -> None:
    ended, running, begun = rows(tmp_path).values()
    assert (ended["state"], ended["feasible"], ended["reason"]) == ("infeasible", "violated", "four is out of reach")
    assert (running["state"], running["step"], running["steps"], running["node"]) == ("running", 10, 60, "node-of-b.out")
    assert running["slacks"] == {"four": -0.2, "five": 0.3} and running["multipliers"] == {"four": 1.5, "five": 0.0}
    assert (ended["restarts"], running["restarts"], begun["restarts"]) == (0, 1, 0) and begun["state"] == "starting"


def test_a_trial_that_is_evaluated_says_its_phase(progress: Progress, tmp_path: Path) -> None:
    progress.reported("0001", report(60, 0.01, "b.out") | {"phase": "sampling", "phase_share": 0.3})
    row = rows(tmp_path)["0001"]
    assert (row["state"], row["phase"], row["share"]) == ("running", "sampling", 0.3)
    console = Console(record=True, width=200, quiet=False, file=io.StringIO())
    show([row], console)
    assert "sampling 30 %" in console.export_text()
    told = list(logs(of_folder(tmp_path), "0001", lambda node, file: None))
    assert any(line.endswith("phase  sampling, step 60") for line in told)


def test_a_row_has_every_key_of_a_trial_that_has_not_reported_though_the_live_state_is_lost(
    progress: Progress, tmp_path: Path
) -> None:
    (tmp_path / "live.json").unlink()
    told = rows(tmp_path)
    for_each = {"phase", "share", "step", "steps", "seconds", "objective", "slacks", "multipliers", "restarts", "workers", "node"}
    assert [for_each - set(row) for row in told.values()] == [set()] * 3
    unreported = {key: told["0002"][key] for key in ("step", "objective", "slacks", "restarts", "node", "feasible")}
    assert unreported == {"step": 0, "objective": None, "slacks": {}, "restarts": 0, "node": "", "feasible": ""}


def test_a_command_that_says_nothing_any_more_or_has_ended_is_told_from_one_that_runs(progress: Progress, tmp_path: Path) -> None:
    assert rows(tmp_path, 1.5 * SILENT)["0001"]["state"] == "silent"
    with progress:
        pass
    states = [row["state"] for row in rows(tmp_path, 1.5 * SILENT).values()]
    assert states == ["infeasible", "interrupted", "interrupted"]
    left = rows(tmp_path, 1.5 * SILENT)["0001"]
    assert (left["step"], left["steps"]) == (10, 60) and left["multipliers"] == {"four": 1.5, "five": 0.0}, "as it was then"


def test_a_continued_trial_runs_again_and_an_end_stays(progress: Progress, tmp_path: Path) -> None:
    with progress:
        pass
    again = Progress(Console(quiet=True), 3, 2, journal=Journal([f"{tmp_path}/"]))
    again.started("0001")
    again.reported("0001", report(40, 0.0, "c.out"))
    assert [row["state"] for row in rows(tmp_path).values()] == ["infeasible", "running", "starting"]


def test_of_a_training_that_has_not_reported_no_time_is_shown(progress: Progress, tmp_path: Path) -> None:
    for is_there in (True, False):
        if not is_there:
            (tmp_path / "live.json").unlink()
        show([rows(tmp_path)["0002"]], console := Console(record=True, width=200, file=io.StringIO()))
        assert "starting" in (text := console.export_text()) or not is_there
        assert "0:00" not in text


@pytest.mark.parametrize("slack", [0.08, -0.08])
def test_an_equality_that_is_missed_on_either_side_is_the_worst(slack: float, tmp_path: Path) -> None:
    """`four` is an equality by 0.08 off, `five` a bound that is kept with 0.3 to spare."""
    written = io.StringIO()
    progress = Progress(Console(file=written, width=200), 1, journal=Journal([f"{tmp_path}/"]))
    progress.started("0000", equalities=frozenset({"four"}))
    progress.reported("0000", report(20, slack, "a.out"))
    assert "worst slack -0.08 (four)" in written.getvalue()
    show(list(rows(tmp_path).values()), console := Console(record=True, width=200, file=io.StringIO()))
    assert "-0.08 (four)" in console.export_text() and rows(tmp_path)["0000"]["slacks"]["four"] == slack
    progress.ended("0000", "infeasible", "four is out of reach", 120.0, "violated")
    show(list(rows(tmp_path).values()), console)
    assert "-0.08 (four)" in console.export_text()


def test_half_a_line_and_a_full_disk_hurt_nobody(progress: Progress, tmp_path: Path) -> None:
    with (tmp_path / "events.jsonl").open("a") as stream:
        stream.write('{"time": 1, "trial": "00')
    assert list(rows(tmp_path)) == ["0000", "0001", "0002"]
    Journal([f"{tmp_path}/no-such-folder/"]).event("started", "0000")
    Journal([f"{tmp_path}/no-such-folder/"]).live([], over=True)


def test_a_log_has_the_events_and_of_shared_processes_the_own_part(progress: Progress, tmp_path: Path) -> None:
    printed = {
        "a.out": "import\ndualsweep: training /x/trials/0000\nof 0000\ndualsweep: training /x/trials/0001\nof 0001\n",
        "b.out": None,
    }  # fmt: skip
    told = list(logs(of_folder(tmp_path), "0001", lambda node, file: printed[file]))
    assert [line[21:].split("  ")[0] for line in told[:3]] == ["started", "placed", "restarted"]
    assert told[3:] == [
        "--- a.out on node-of-a.out", "dualsweep: training /x/trials/0001\nof 0001",
        "--- b.out on node-of-b.out", "it is not there, or out of reach from here",
    ]  # fmt: skip


def test_the_commands(progress: Progress, tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["status", str(tmp_path), "--json", str(tmp_path / "x.json")], env={"COLUMNS": "200"})
    assert shown.exit_code == 0 and "10/60" in shown.output and "-0.2 (four)" in shown.output and "node-of-b.out" in shown.output
    written = json.loads((tmp_path / "x.json").read_text())["trials"]
    assert [row["state"] for row in written] == ["infeasible", "running", "starting"]
    told = CliRunner().invoke(app, ["logs", "0000", str(tmp_path)])
    assert "ended  infeasible, violated: four is out of reach" in told.output
    assert "there are 0000, 0001, 0002" in str(CliRunner().invoke(app, ["logs", "7", str(tmp_path)]).exception)
    empty = CliRunner().invoke(app, ["status", str(tmp_path.parent)])
    assert "must be the output folder of a run" in str(empty.exception)


def test_a_job_writes_beside_rays_logs_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert job_stem() is None
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps({"metadata": {"job_submission_id": "raysubmit_1"}}))
    logs_of_ray = tmp_path / "logs"
    logs_of_ray.mkdir()
    Journal.of(tmp_path, logs_of_ray).event("started", "0000", params={})
    assert (logs_of_ray / "dualsweep-raysubmit_1-events.jsonl").read_text() == (tmp_path / "events.jsonl").read_text() != ""


def test_the_live_state_is_written_at_intervals_and_at_the_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(journal, "INTERVAL", 3600.0)
    written = Journal([f"{tmp_path}/"])
    written.live([{"step": 1}])
    first = (tmp_path / "live.json").read_text()
    written.live([{"step": 2}])
    assert (tmp_path / "live.json").read_text() == first
    written.live([], over=True)
    assert '"over": true' in (tmp_path / "live.json").read_text()
    written.live([{"step": 3}])
    assert '"over": false' in (tmp_path / "live.json").read_text(), "a sweep goes on with its trials"


def test_without_a_journal_there_is_no_story() -> None:
    assert Story.of(lambda name: None) is None


def test_a_training_that_has_moved_says_why_and_to_how_many_workers(tmp_path: Path) -> None:
    console = Console(record=True, width=200, file=io.StringIO())
    progress = Progress(console, 1, journal=Journal([f"{tmp_path}/"]))
    progress.started("0000")
    progress.reported("0000", report(20, 0.1, "a.out") | {"workers": 2})
    progress.reported("0000", report(21, 0.1, "b.out") | {"workers": 1, "moved": "a node of its is about to go"})
    progress.reported("0000", report(10, 0.1, "c.out") | {"workers": 1})
    said = console.export_text()
    moved = "left its processes on node-of-a.out (a node of its is about to go), and goes on at step 21 on node-of-b.out with 1"
    assert (
        f"{moved} worker\n" in said and "lost its processes on node-of-b.out, and goes on at step 10 on node-of-c.out\n" in said
    )
    told = list(logs(of_folder(tmp_path), "0000", lambda node, file: f"{file} there"))
    assert any("moved  to 1 worker(s) on node-of-b.out at step 21: a node of its" in line for line in told)
    assert "--- b.out on node-of-b.out" in told
    assert rows(tmp_path)["0000"]["workers"] == 1
    show(list(rows(tmp_path).values()), console)
    assert "workers" in console.export_text()


STRANGE = [
    {},
    {"trial": 5, "event": "started"},
    {"time": 1, "trial": "0000", "event": "placed"},
    {"trial": "0000", "event": "sung"},
]


@pytest.mark.parametrize("events", ["\n".join(map(json.dumps, STRANGE)), "[" * 100_000, 'null\n5\n"x"', ""])
@pytest.mark.parametrize(
    "live", ['{"number": NaN, "running": 5}', '{"running": [5, {}], "time": 1, "over": false}', "[" * 100_000, ""]
)
def test_a_journal_that_is_damaged_or_another_s_is_read_as_far_as_it_is_one(events: str, live: str, tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text(f"{events}\n")
    (tmp_path / "live.json").write_text(live)
    assert of_folder(tmp_path).trainings(time.time()) == []
    Journal([f"{tmp_path}/"]).event("started", "0000", params={})
    assert list(rows(tmp_path)) == ["0000"]


#: As JSON: what no field is, or what cannot be counted, timed or printed.
ODD = ["null", "true", "-1", "1e400", "NaN", "1" + "0" * 400, "1e300", '"x"', '"\\ud800"', "[1]", '[["x"]]', '{"a": null}',
       '{"a": "b"}', '{"a": NaN}', '{"a": [1]}', "[" * 900 + "]" * 900]  # fmt: skip


def told(folder: Path) -> str:
    """All that `status` and `logs` print of a folder."""
    printed = io.StringIO()
    console = Console(width=300, file=printed, markup=False)
    story = of_folder(folder)
    show(story.trainings(time.time()), console)
    for trial in dict.fromkeys(event["trial"] for event in story.events):
        for line in logs(story, trial, log_of_this_machine):
            console.print(line)
    return printed.getvalue().encode().decode()


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_records_whose_fields_are_of_other_types_hurt_nobody(odd: str, progress: Progress, tmp_path: Path) -> None:
    """Each field of each kind of event, and of the live state, in turn."""
    progress.reported("0001", report(12, 0.1, "c.out") | {"workers": 1, "moved": "a node is about to go", "phase": "sampling"})
    events, live = (tmp_path / "events.jsonl").read_text().splitlines(), json.loads((tmp_path / "live.json").read_text())
    kinds = {json.loads(line)["event"]: json.loads(line) for line in events}
    assert set(kinds) == {"started", "placed", "restarted", "moved", "phase", "ended"}
    strange = [_with(event, key, odd) for event in kinds.values() for key in event]
    (tmp_path / "events.jsonl").write_text("\n".join([*strange, *events]) + "\n")
    assert "0002" in told(tmp_path)
    for key in live["running"][0]:
        running = _with(live["running"][0], key, odd)
        (tmp_path / "live.json").write_text(f'{{"time": 1, "over": false, "running": [{running}]}}')
        assert "0001" in told(tmp_path)
    for key in live:
        (tmp_path / "live.json").write_text(_with(live, key, odd))
        assert "0001" in told(tmp_path)


def _with(record: dict[str, Any], key: str, odd: str) -> str:
    """A record as JSON, with another value of one key."""
    return json.dumps(record | {key: "ODD"}).replace('"ODD"', odd)


def test_a_log_of_a_strangers_folder_leads_to_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray" / "session_1" / "logs").mkdir(parents=True)
    (tmp_path / "ray" / "session_1" / "logs" / "worker.out").write_text("printed")
    (tmp_path / "private.txt").write_text("PRIVATE")
    assert log_of_this_machine("n", "worker.out") == "printed"
    for file in ("../../../private.txt", str(tmp_path / "private.txt"), "..", "", "a/../worker.out"):
        assert log_of_this_machine("n", file) is None
