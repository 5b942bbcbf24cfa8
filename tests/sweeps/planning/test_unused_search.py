"""What is searched and of no use to any trial is told before a sweep starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from dualsweep.sweeps.checking import checked_plan
from tests.sweeps.files import SWEEP, plan

MANY = (
    "train.lr",
    "train.weight_decay",
    "train.clip",
    "dual.step_size",
    "dual.alpha",
    "dual.cap",
    "feasibility.confidence",
    "data.keep.4",
)


def warned(folder: Path, *overrides: str) -> list[str]:
    found = checked_plan(plan(folder, *overrides, sweep=SWEEP), str(folder / "output"), None, None, "light").found
    return [str(each) for each in found.warnings if "search." in str(each)]


@pytest.mark.parametrize(("fixed", "key", "kind"), [
    ("dual.rule=ascent", "dual.nu", "{uniform: [0, 0.9]}"),
    ("dual.rule=fixed", "dual.decay", "{choice: [none, linear]}"),
    ("train.batches=separate", "train.floor", "{int: [1, 2]}"),
])  # fmt: skip
def test_a_searched_key_that_every_trial_ignores_is_warned_of(fixed: str, key: str, kind: str, tmp_path: Path) -> None:
    (line,) = warned(tmp_path, fixed, "search.dual.step_size=null", f"search.{key}={kind}")
    assert f"search.{key}: should be of use to the recipe, but got a key which it ignores" in line
    assert f"`--set search.{key}=null`" in line


@pytest.mark.parametrize("beside", [(), MANY])
def test_what_some_trial_uses_is_not(beside: tuple[str, ...], tmp_path: Path) -> None:
    ranges = [f"search.{key}={{uniform: [0.6, 0.9]}}" for key in beside]
    searched = ("search.dual.rule={choice: [ascent, nu_pi]}", "search.dual.nu={uniform: [0, 0.9]}")
    assert warned(tmp_path, *searched, *ranges) == []
