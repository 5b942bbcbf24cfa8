"""How the figures of an estimate read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dualsweep.sweeps.checking import checked_plan
from dualsweep.sweeps.estimating import amount, estimated, lasting, size
from dualsweep.sweeps.python.given import plan_given
from dualsweep.trainer.checks.estimate import Estimate
from tests.stores import empty_store
from tests.sweeps.in_process import RECIPE

#: A step takes 2 s and an evaluation none, so that a training of 300 steps takes ten minutes.
TIMED = Estimate({"weights": 1 << 20}, step=2.0, images=8.0, evaluation=0.0, parameters=1000, trained=1000, device="cpu")


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0004, "0.4 ms"),
        (0.134, "134 ms"),
        (0.9999, "1000 ms"),
        (1.01, "1.01 s"),
        (12.34, "12.3 s"),
        (99.99, "100 s"),
        (150.0, "2:30"),
    ],
)
def test_a_step_lasts(seconds: float, told: str) -> None:
    assert lasting(seconds) == told


@pytest.mark.parametrize(("number", "told"), [(0.02, "0.02"), (0.5, "0.5"), (9.87, "9.87"), (23.7, "24"), (12_345.0, "12,345")])
def test_images_a_second(number: float, told: str) -> None:
    assert amount(number) == told


@pytest.mark.parametrize("count", [0, 1, 999, 1_000, 1_023, 999_600, 1_023_000, 1_047_000, 10**9 - 1, 1_072_000_000, 10**13])
def test_a_size_has_no_power_of_ten(count: int) -> None:
    number, unit = size(count).split()
    assert "e" not in number and (float(number) <= 1024 or unit == "GB")


def told_of_sweep(folder: Path, address: str | None, workers: int = 1, **keys: Any) -> str:
    """The line of a sweep of six trainings of 300 steps, one at a time, with other keys."""
    recipe = RECIPE | {"train": {"steps": 300, "batch_size": 512}, "resources": {"workers": workers}}
    plain = {"name": "s", "recipe": recipe, "search": {"constraints.four.at_most": {"uniform": [0.3, 0.6]}}, "trials": 6}
    plain |= {"concurrency": 1, "mlflow": {"tracking_uri": empty_store(folder)}, **keys}
    checked = checked_plan(plan_given(plain, None), str(folder / "out"), None, address, "light")
    return next(line for line in estimated(checked, TIMED) if "the sweep" in line).split(maxsplit=2)[2]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({}, "about 1:00:03: 6 trainings, 1 at a time; 1 worker-hours"),
        # A third of the steps, but of the first.
        ({"continuation": True}, "about 26:43: 6 trainings, 1 at a time; 0.444 worker-hours"),
        ({"continuation": True, "seeds": 2}, "about 53:26: 12 trainings, 1 at a time; 0.889 worker-hours"),
        (
            {"search": {"train.steps": {"int": [30, 300]}}},
            "from 6:03 to 1:00:03: 6 trainings, 1 at a time; 0.1 to 1 worker-hours",
        ),
        ({"amortised": True}, "about 1:30:03: 6 trainings and the amortised one of 900 steps, 1 at a time; 1.5 worker-hours"),
    ],
)
def test_a_sweep_is_as_long_as_its_trials_are(keys: dict[str, Any], told: str, tmp_path: Path) -> None:
    assert told_of_sweep(tmp_path, None, **keys) == told


def test_a_sweep_on_a_cluster_is_counted_in_worker_hours(tmp_path: Path) -> None:
    told = told_of_sweep(tmp_path, "10.0.0.1:6379", search={"train.steps": {"int": [30, 300]}})
    assert told == "0.1 to 1 worker-hours in 6 trainings, on machines like this one"
    many = told_of_sweep(tmp_path, "10.0.0.1:6379", 512)  # more than this machine has room for
    assert many == "512 worker-hours in 6 trainings, on machines like this one"
