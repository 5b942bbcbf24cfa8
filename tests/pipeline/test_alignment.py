"""Alignment through the public command: the exact multipliers, and samples that have the rewards."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.known.test_answers import CASES, aligned, exact_alignment
from tests.pipeline.conftest import run

pytestmark = pytest.mark.ray


def test_two_workers_align_a_gaussian_to_two_rewards(folder: Path) -> None:
    rewards, thresholds, matrix = CASES["two"]
    spec = aligned(rewards, thresholds, "backpropagation", 400)
    plain = spec.model_dump(mode="json", exclude_none=True) | {"resources": {"workers": 2}}
    for constraint, reward in zip(plain["constraints"], rewards, strict=True):
        constraint["reward"] = {"call": f"tests.known.models:{reward}"}
    plain["evaluation"]["samples"] = 2000
    (folder / "recipe.yaml").write_text(yaml.safe_dump(plain))
    said = run(folder, "train", "recipe.yaml", "--output", "out", "--json", "r.json", code=(0, 3))
    result = json.loads((folder / "r.json").read_text())
    wanted, kl = exact_alignment(spec, matrix)
    found = [each["multiplier"] for each in result["constraints"].values()]
    np.testing.assert_allclose(found, wanted, rtol=0.05)
    assert result["objective"] == pytest.approx(kl, rel=0.05)
    assert {each["kind"] for each in result["constraints"].values()} == {"at_least"} and "first" in said
    samples = np.load(folder / "out" / "samples.npy")
    assert samples.shape == (2000, 2) and np.abs(samples.mean(0) - thresholds).max() < 0.1
