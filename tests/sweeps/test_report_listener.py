"""From Python every report of a sweep's trainings is heard, as that of a single training is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ray.tune import TuneError

from dualsweep.sweeps import tune, whole_sweep
from dualsweep.sweeps.checking import checked_plan
from dualsweep.sweeps.output import Screen
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.studies.study import Study
from tests.sweeps.test_runner import handed_out, planned, train


class AsTune:
    """Ray Tune for a sweep in this process: it adds keys of its own to reports, and has its own error for what is raised."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(whole_sweep, "connect", lambda address, on_loss: self)
        monkeypatch.setattr(whole_sweep, "concurrency", lambda *asked: self)
        monkeypatch.setattr(whole_sweep, "check_nodes", lambda *asked: None)
        monkeypatch.setattr(whole_sweep, "terminate_like_interrupt", lambda: None)
        monkeypatch.setattr(tune, "run_trials", self.run_trials)
        self.machine, self.logs, self.started, self.concurrent, self.reason = None, None, True, 1, "there is one"

    def __enter__(self) -> AsTune:
        return self

    def __exit__(self, *error: object) -> None: ...

    def run_trials(self, runner: Any, concurrent: int, folder: Path, meanwhile: Any, *, warm: bool, ends: bool) -> None:
        try:
            for run in handed_out(runner):
                reported, runner_reported = [], runner.reported
                runner.reported = lambda run, payload: reported.append(payload)  # noqa: B023
                train(runner, run)
                runner.reported = runner_reported
                for payload in reported:
                    runner.reported(run, {**payload, "trial_id": "a1b2", "config": {}})
        except (ValueError, RuntimeError) as error:
            raise TuneError(str(error)) from error


def test_every_report_is_heard_and_what_the_listener_raises_is_raised_and_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    AsTune(monkeypatch)
    plan, heard = planned(tmp_path), list[dict[str, Any]]()
    checked = checked_plan(plan, str(tmp_path / "out"), None, None, "light")

    def listen(payload: dict[str, Any]) -> None:
        heard.append(payload)
        if len(heard) == 2:
            raise ValueError("enough")

    with pytest.raises(ValueError, match=r"^enough$"):
        whole_sweep.run_sweep(checked, Screen(), listen)
    assert [each["trial"] for each in heard] == ["0000-seed-0", "0000-seed-1"]
    assert heard[0].keys() == {"trial", "step", "steps", "seconds", "points", "result"}
    with Study(load_plan(tmp_path / "sweep.yaml", [f"mlflow.tracking_uri={plan.tracking_uri}"]), tmp_path / "out") as study:
        assert [each.number for each in study.unfinished()] == [0] and study.finished == 0
    whole_sweep.run_sweep(checked, Screen(), listen)
    assert len(heard) == 2 + 4, "of one of the six nobody reports"


@pytest.mark.parametrize("raised", [SystemExit(7), KeyboardInterrupt("enough")], ids=lambda each: type(each).__name__)
def test_what_ends_a_process_ends_the_sweep_in_order_too(
    raised: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tune hears of an error alone: by anything else it would leave the trainings' processes behind."""
    AsTune(monkeypatch)

    def listen(payload: dict[str, Any]) -> None:
        payload["points"].clear()  # a listener's own
        raise raised

    with pytest.raises(type(raised)):
        whole_sweep.run_sweep(checked_plan(planned(tmp_path), str(tmp_path / "out"), None, None, "light"), Screen(), listen)
