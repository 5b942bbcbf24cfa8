"""`dualsweep train` ends with a verdict for each constraint, and `dualsweep explain` gives the same from its folder."""

from __future__ import annotations

import json

import pytest

from tests.pipeline.conftest import run

pytestmark = pytest.mark.ray


def test_train_ends_with_verdicts_and_explain_gives_the_same_from_the_folder(folder):
    # Nobody reaches this budget: the multiplier is at its cap before the run ends.
    arguments = ["--set", "constraints.four.at_most=0.001", "--set", "dual.cap=0.5", "--set", "dual.patience=10"]
    said = run(folder, "train", "recipe.yaml", *arguments, "--output", "out", "--json", "result.json")
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "infeasible"
    four, five = result["verdicts"]
    value = result["constraints"]["four"]["value"]
    assert (four["name"], four["word"], five["name"]) == ("four", "infeasible", "five")
    assert "constraints.four.at_most" in four["suggestion"] and 0 < four["evidence"]["best_value"] <= value
    assert four["sentence"] in said and four["suggestion"] in said and f"slack: {four['evidence']['slack']:+.3g}" in said
    assert json.loads((folder / "out" / "verdicts.json").read_text()) == result["verdicts"]
    assert "## four: infeasible" in (folder / "out" / "explain.md").read_text()

    again = run(folder, "explain", "out", "--json", "explained.json")
    assert json.loads((folder / "explained.json").read_text()) == {
        "status": "infeasible",
        "verdicts": result["verdicts"],
        "prices": [],
    }
    assert all(line in said for line in again.splitlines())
    run(folder, "train", "recipe.yaml", *arguments, "--output", "out", "--strict", code=3)
