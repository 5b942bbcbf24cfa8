"""Exit codes by how trials ended: every combination of ends, in commands and beside a job's status."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import get_args

import pytest

from dualsweep.cluster.jobs import Job
from dualsweep.sweeps.exits import exit_code
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.sweeps.submitting import _line
from dualsweep.sweeps.trials.results import Results
from dualsweep.trainer.result import Result, Status, failed

OWN: tuple[Status, ...] = ("converged", "out_of_steps", "infeasible", "stopped")
BROKEN: tuple[Status, ...] = ("failed", "diverged")


def ended(status: Status, *, met: bool = False) -> Result:
    return replace(failed("as the test wants it"), status=status, feasible="met" if met else "undecided")


def test_these_are_all_ends() -> None:
    assert set(OWN) | set(BROKEN) == set(get_args(Status))


@pytest.mark.parametrize(("first", "second"), list(itertools.product(get_args(Status), repeat=2)))
def test_a_verdict_is_a_result_and_only_what_broke_off_is_not(first: Status, second: Status) -> None:
    broken = [each in BROKEN for each in (first, second)]
    expected = 1 if all(broken) else 3 if any(broken) else 0
    results = [ended(first), ended(second)]
    assert exit_code(results) == expected
    assert Results([TrialRecord(i, {}, each) for i, each in enumerate(results)], [], None, None, False).exit_code == expected


@pytest.mark.parametrize("status", get_args(Status))
def test_strict_is_0_only_where_every_trial_is_met(status: Status) -> None:
    fine = ended("converged", met=True)
    assert exit_code([fine, ended("out_of_steps", met=True)], strict=True) == 0
    assert exit_code([fine, ended(status)], strict=True) == 3
    assert exit_code([ended(status)], strict=True) == (1 if status in BROKEN else 3)
    assert exit_code([fine, ended(status, met=True)], strict=True) == (0 if status in ("converged", "out_of_steps") else 3)


def test_a_sweep_s_amortised_training_counts_beside_its_trials() -> None:
    assert exit_code([ended("converged")], beside=failed("it broke off")) == 3
    assert exit_code([ended("converged")], beside=ended("infeasible")) == 0
    assert exit_code([failed("it broke off")], beside=ended("converged")) == 1


def test_no_trial_at_all_is_no_success() -> None:
    assert exit_code([]) == exit_code([], strict=True) == 1


@pytest.mark.parametrize(
    ("entrypoint", "code", "said"),
    [
        ("exec python -m dualsweep sweep s.yaml", 3, "(exit code 3: some trials failed or diverged, or under --strict"),
        ("exec python -m dualsweep train r.yaml", 1, "(Job entrypoint command failed with exit code 1)"),
        ("exec python other.py", 3, "(Job entrypoint command failed with exit code 3)"),
    ],
)
def test_a_job_s_status_says_what_a_code_of_ours_means(entrypoint: str, code: int, said: str) -> None:
    job = Job(
        "raysubmit_1", "", "FAILED", entrypoint, f"Job entrypoint command failed with exit code {code}\nlog", exit_code=code
    )
    assert f"FAILED  {entrypoint}  {said}" in _line(job)
