"""A sweep of which some trials cannot meet their budget: they stop, and give back what they held while the sweep goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pipeline.conftest import RECIPE, ROOT, assert_nothing_left, run

pytestmark = [pytest.mark.ray, pytest.mark.slow]

#: Losses are not below 0: of the two budgets one is beyond any price. The model is a single layer, so that steps cost little.
TINY: dict[str, Any] = {
    **RECIPE,
    "model": {"call": "parts:good"},
    "constraints": [{"name": "four", "data": {"classes": [4]}, "at_most": 5.0}],
    "dual": {"step_size": 5e-4},  # or the multiplier is at its cap, and the trial infeasible by itself, before anybody looks
    "train": {"steps": 2000, "batch_size": 8, "lr": 2e-3, "log_every": 10},
    "evaluation": {"samples": 1, "sample_steps": 1, "loss_draws": 16, "metrics": [], "grid": 0},
    "checkpoint": {"every": 1000},
}
SWEEP: dict[str, Any] = {
    "name": "stopping",
    "recipe": "recipe.yaml",
    "search": {"constraints.four.at_most": {"choice": [5.0, -0.5]}},
    "sampler": {"name": "grid", "seed": 0},
    "trials": 2,
    "concurrency": 1,
    "hosting": "fresh",  # or what a stopped trial held would be the next one's
    "early_stopping": {"infeasible": True},
    "mlflow": {"tracking_uri": "sqlite:///mlflow.db"},
}


def test_what_a_stopped_trial_held_is_free_soon(folder: Path) -> None:
    (folder / "recipe.yaml").write_text(yaml.safe_dump(TINY))
    (folder / "sweep.yaml").write_text(yaml.safe_dump(SWEEP))
    said = subprocess.run(
        [sys.executable, "-m", "tests.pipeline.releases", "sweep.yaml", "releases.json"], cwd=folder, text=True, timeout=900,
        check=True, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "160"},
    ).stdout  # fmt: skip
    assert_nothing_left(folder)
    seen = json.loads((folder / "releases.json").read_text())
    assert seen["free"] and seen["left"] == []
    [release] = seen["releases"]
    assert release["seconds"] <= release["held"] / 4, f"soon, whatever the machine's speed: {release}"

    again = run(folder, "sweep", "sweep.yaml", "--json", "r.json")
    assert "starts" not in again, "a stopped trial is stopped for good"
    plain = json.loads((folder / "r.json").read_text())
    by_budget = {each["params"]["constraints.four.at_most"]: each for each in plain["trials"]}
    stopped, good = by_budget[-0.5], by_budget[5.0]
    assert (stopped["status"], stopped["stopped_by"], good["feasible"]) == ("stopped", "infeasible", "met")
    assert 600 <= stopped["steps"] < 1900 and plain["front"] == [good["id"]]
    assert f"trial {stopped['id']} stopped after" in said and "cannot be met within" in said
