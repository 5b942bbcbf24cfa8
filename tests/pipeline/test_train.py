"""`dualsweep train` on a real local Ray: workers, the JSON contract, interruption, samples."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from dualsweep.trainer.checkpoint import CheckpointFolder
from tests.pipeline.conftest import interrupt, run, start, wait_for

pytestmark = pytest.mark.ray


def points(folder):
    """Metrics by step; the final evaluation stands at the last step, beside the last training point."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return {(each["step"], each["final"]): each["metrics"] for each in lines}


def without_time(metrics):
    return {name: value for name, value in metrics.items() if not name.startswith("system/")}


def test_interrupted_by_ctrl_c_and_continued_is_bit_for_bit_the_uninterrupted_run(folder):
    arguments = ["--set", "dual.every=2", "--set", "evaluation.metrics=[class_shares, 'analysis.metrics:brightness']"]
    assert "recipe `tiny` is good" in run(folder, "check", "recipe.yaml", *arguments)
    output = run(folder, "train", "recipe.yaml", *arguments, "--output", "one", "--json", "one.json")
    assert "objective" in output and "output: " in output
    plain = json.loads((folder / "one.json").read_text())
    assert {"status", "objective", "constraints", "steps", "seconds", "checkpoint"} <= plain.keys()
    assert plain["constraints"]["four"].keys() >= {"value", "budget", "slack", "multiplier", "kind"}
    assert plain["constraints"]["four"]["slack"] == pytest.approx(0.3 - plain["constraints"]["four"]["value"])
    whole = points(folder / "one")
    assert whole[60, True]["eval/brightness"] == pytest.approx(np.load(folder / "one" / "samples.npy").mean(), abs=1e-5)
    assert (folder / "one" / "samples.png").stat().st_size > 500 and (folder / "one" / "trajectories.png").exists()

    process = start(folder, "train", "recipe.yaml", *arguments, "--output", "parts")
    wait_for(lambda: CheckpointFolder(str(folder / "parts" / "checkpoints")).newest(), process)
    said = interrupt(process)
    assert process.returncode == 130 and "continue" in said, said
    assert not (folder / "parts" / "result.json").exists()
    run(folder, "train", "recipe.yaml", *arguments, "--output", "parts", "--json", "parts.json")
    parts = points(folder / "parts")
    assert parts.keys() == whole.keys()
    assert all(without_time(parts[key]) == without_time(whole[key]) for key in whole)
    ends = [CheckpointFolder(str(folder / name / "checkpoints")).latest() for name in ("one", "parts")]
    assert ends[0] and ends[1]
    for group, tensors in ends[0].groups.items():
        assert all(torch.equal(value, ends[1].groups[group][name]) for name, value in tensors.items())


def test_a_finished_run_is_not_run_again_and_samples_come_from_its_checkpoint(folder):
    run(folder, "train", "recipe.yaml", "--output", "out", "--json", "first.json")
    said = run(folder, "train", "recipe.yaml", "--output", "out", "--json", "again.json")
    assert json.loads((folder / "first.json").read_text()) == json.loads((folder / "again.json").read_text())
    assert "step 10" not in said
    said = run(folder, "train", "recipe.yaml", "--set", "train.steps=40", "--output", "out", code=2)
    assert "another recipe" in said
    run(folder, "sample", "out", "--count", "5", "--steps", "4", "--output", "five")
    run(folder, "sample", "out", "--count", "3", "--steps", "4", "--sampler", "ddpm", "--output", "three")
    samples = np.load(folder / "five" / "samples.npy")
    assert samples.shape == (5, 1, 8, 8) and np.isfinite(samples).all()
    assert len(list((folder / "five").glob("0*.png"))) == 5 and np.load(folder / "three" / "samples.npy").shape == (3, 1, 8, 8)
    trained = np.load(folder / "out" / "samples.npy")
    np.testing.assert_allclose(samples, trained[:5], atol=1e-5)  # the same seed and sampler as the run's own evaluation
