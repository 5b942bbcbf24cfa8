"""A searched key that every trial ignores is told, and one that only some values of another give a use is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from dualsweep.sweeps.checking import checked_sweep
from tests.sweeps.files import RECIPE

SWEEP = "name: tried\nrecipe: recipe.yaml\ntrials: 4\nobjectives: {{objective: minimize}}\nsearch: {search}\n"


@pytest.mark.parametrize(
    ("search", "told"),
    [
        ("{dual.nu: {uniform: [0.0, 0.9]}}", ["search.dual.nu"]),
        ("{dual.nu: {uniform: [0.0, 0.9]}, dual.step_size: {log_uniform: [0.01, 0.1]}}", ["search.dual.nu"]),
        ("{dual.nu: {uniform: [0.0, 0.9]}, dual.rule: {choice: [ascent, nu_pi]}}", []),
        ("{dual.step_size: {log_uniform: [0.01, 0.1]}}", []),
        ("{rollout.clip_range: {uniform: [0.1, 0.2]}, train.lr: {log_uniform: [1.0e-4, 1.0e-3]}}", ["search.rollout.clip_range"]),
    ],
)
def test_searched_keys_without_use_are_told(
    search: str, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(RECIPE)
    Path("s.yaml").write_text(SWEEP.format(search=search))
    checked = checked_sweep(Path("s.yaml"), [], None, None, None, "light")
    found = [each for each in checked.found.warnings if "which it ignores" in each.received and each.key.startswith("search.")]
    assert [each.key for each in found] == told
    assert all(each.line == 5 and each.file.endswith("s.yaml") for each in found)
