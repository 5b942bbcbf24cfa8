"""What a command says while trainings run: their phases, the time that is left, each end once."""

from __future__ import annotations

import io
import time
from types import SimpleNamespace
from typing import Any

import IPython.display
import pytest
from rich.console import Console

from dualsweep.sweeps import progress as progress_module
from dualsweep.sweeps.progress import Progress
from dualsweep.sweeps.trial_state import TrialState


def report(step: int, phase: str = "training", share: float = 0.0, **more: Any) -> dict[str, Any]:
    return {"step": step, "steps": 120, "seconds": 0.5 * step, "phase": phase, "phase_share": share, "points": [], **more}


class Told:
    """A progress whose lines are kept, with every line due at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, total: int = 1, line_seconds: float = 0.0) -> None:
        monkeypatch.setattr(progress_module, "LINE_SECONDS", line_seconds)
        self._written = io.StringIO()
        self.progress = Progress(Console(file=self._written, width=200), total)

    @property
    def lines(self) -> list[str]:
        return self._written.getvalue().splitlines()


def test_the_last_step_is_told_once_and_each_phase_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(monkeypatch)
    told.progress.started("faces")
    for payload in (
        report(60), report(120), report(120, "measuring"), report(120, "sampling"), report(120, "sampling", 0.3),
        report(120, "judging"),
        report(120, "writing"), report(120, "writing", result={"status": "converged"}),
    ):  # fmt: skip
        told.progress.reported("faces", payload)
    told.progress.ended("faces", "converged", "", 60.0)
    assert [line.partition("  ")[0] for line in told.lines] == [
        "trial faces starts", "trial faces step 60/120", "trial faces step 120/120", "trial faces measuring",
        "trial faces sampling",
        "trial faces sampling 30 %", "trial faces judging", "trial faces writing", "trial faces converged after 1:00 (1/1)",
    ]  # fmt: skip


def test_an_evaluation_that_nobody_has_timed_is_said_and_one_that_was_is_counted() -> None:
    state = TrialState("0001", "", step=60, steps=120, seconds=30.0)
    state.enter("training", 0.0, 0.0)
    assert state.told(None, 30.0) == "0:30 + evaluation" and state.told(240.0, 30.0) == "4:30"


def test_an_evaluation_that_goes_on_is_told_by_its_share_or_by_those_before() -> None:
    state = TrialState("0001", "", step=120, steps=120, seconds=60.0)
    state.enter("sampling", 0.25, 60.0)
    assert state.told(None, 90.0) == "1:30 + judging" and state.told(240.0, 90.0) == "3:30"  # a quarter took 30 s
    state.enter("judging", 0.0, 200.0)
    assert state.told(None, 230.0) == "" and state.told(240.0, 230.0) == "1:10"  # unknown is not 0:00


def test_what_is_left_is_never_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    state = TrialState("0001", "", step=119, steps=120, seconds=59.5)
    state.enter("training", 0.0, 0.0)
    assert state.told(None, 59.5) == "0:01 + evaluation" and state.told(0.1, 59.5) == "0:01"
    state.step = 120
    assert state.told(None, 60.0) == "evaluation" and state.told(0.0, 60.0) == ""
    told = Told(monkeypatch, total=2, line_seconds=1e9)
    for name in ("0000", "0001"):
        told.progress.started(name)
        now[0] += 0.5
        told.progress.ended(name, "converged", "", 0.5)
    assert told.lines[1] == "trial 0000 converged after 0:00 (1/2, about 0:01 left)"


@pytest.mark.parametrize("total", [1, 1000])
def test_a_notebooks_bar_is_full_once_all_is_over(total: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The final evaluation comes after the last step, and 99.6 % are not all."""
    bars = list[str]()
    handle = SimpleNamespace(update=lambda shown, raw: bars.append(shown["text/plain"].splitlines()[0]))
    monkeypatch.setattr(IPython.display, "display", lambda shown, **given: handle)
    progress = Progress(Console(force_jupyter=True, file=io.StringIO()), total, done=total - 1)
    progress.started("0000")
    for payload in (report(60), report(120), report(120, "sampling", 0.5)):
        progress.reported("0000", payload)
    progress.ended("0000", "converged", "", 60.0)
    under_way = ["50%", "99%", "99%"] if total == 1 else ["99%"] * 3
    assert bars == [*under_way, "100%"]


def test_the_sweep_counts_the_evaluations_of_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    told = Told(monkeypatch, total=2, line_seconds=1e9)
    told.progress.started("0000")
    for at, each in ((50.0, report(120)), (60.0, report(120, "sampling"))):
        now[0] = at
        told.progress.reported("0000", each)
    now[0] = 300.0
    told.progress.ended("0000", "converged", "", 300.0)
    told.progress.started("0001")
    now[0] = 330.0
    told.progress.reported("0001", report(60))
    shown = Console(file=io.StringIO(), record=True, width=200)
    shown.print(told.progress._table())
    text = shown.export_text()
    assert "1 of 2 trials done, about 4:30 left" in text  # 30 s of steps and 240 s of evaluation, or a turn of 300 s less 30
    assert text.count("4:30") == 2  # and so the trial's own row


def test_a_phase_without_reports_is_told_all_the_same_and_the_journal_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "PULSE_SECONDS", 0.05)
    told = Told(monkeypatch, line_seconds=0.2)
    with told.progress as progress:
        progress.started("0000")
        progress.reported("0000", report(120, "judging"))
        deadline = time.monotonic() + 20
        while sum("judging" in line for line in told.lines) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
    assert sum("judging" in line for line in told.lines) >= 3


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"FORCE_COLOR": "1"}])
@pytest.mark.parametrize("is_pipe", [True, False])
def test_where_no_table_can_be_drawn_in_place_there_are_lines(environment: dict[str, str], is_pipe: bool) -> None:
    """Rich draws none on a dumb terminal, and calls a pipe, as of a log in CI, a terminal where colours are forced."""

    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return not is_pipe

    console = Console(file=(written := Stream()), width=200, _environ=environment)
    with Progress(console, 1) as progress:
        progress.started("a")
    has_table = environment == {"FORCE_COLOR": "1"} and not is_pipe
    assert ("trial a starts\n" in written.getvalue()) == (not has_table) and ("worst slack" in written.getvalue()) == has_table


def test_what_stands_in_brackets_is_said() -> None:
    written = io.StringIO()
    Progress(Console(file=written, width=200), 1).say("must be [batch], but got [/b] of [red]")
    assert written.getvalue() == "must be [batch], but got [/b] of [red]\n"
