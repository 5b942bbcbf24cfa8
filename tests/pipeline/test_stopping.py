"""A sweep of which some trials cannot meet their budget: they stop while the sweep goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.pipeline.conftest import RECIPE, assert_nothing_left, run

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
    "sampler": {"name": "random", "seed": 0},
    "points": [{"constraints.four.at_most": -0.5}, {"constraints.four.at_most": 5.0}],
    "trials": 2,
    "concurrency": 1,
    "early_stopping": {"infeasible": True},
    "mlflow": {"tracking_uri": "sqlite:///mlflow.db"},
}


def test_a_stopped_trial_makes_way_for_the_next(folder: Path) -> None:
    """In the same process: it ends at its next dual step, and the sweep with all that it held."""
    (folder / "recipe.yaml").write_text(yaml.safe_dump(TINY))
    (folder / "sweep.yaml").write_text(yaml.safe_dump(SWEEP))
    said = run(folder, "sweep", "sweep.yaml", "--json", "first.json")
    assert_nothing_left(folder)
    calls = (folder / "calls").read_text().split()
    stopped, good = json.loads((folder / "first.json").read_text())["trials"]
    assert (stopped["status"], stopped["stopped_by"], good["feasible"]) == ("stopped", "infeasible", "met")
    assert 600 <= stopped["steps"] < 1900 and len(set(calls)) == 1 and len(calls) < 2000 + 1900
    assert f"trial {stopped['id']} stopped after" in said and "cannot be met within" in said

    again = run(folder, "sweep", "sweep.yaml", "--json", "r.json")
    assert "starts" not in again, "a stopped trial is stopped for good"
    plain = json.loads((folder / "r.json").read_text())
    assert plain["front"] == [good["id"]] and plain["trials"] == [stopped, good]
