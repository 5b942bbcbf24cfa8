"""One training after another in a process: what a user's parts draw by themselves is the same each time."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dualsweep.trainer.evaluation.evidence import Evidence
from tests.trainer.engine.test_loop import run
from tests.trainer.recipes import digits

LOADED: list[Tensor] = []


def made_up() -> tuple[Tensor, list[int]]:
    """Data that are drawn anew each time that they are loaded."""
    images = torch.rand(64, 1, 8, 8) * float(np.random.default_rng(random.getrandbits(32)).uniform(0.5, 1.0))
    LOADED.append(images * float(np.random.uniform(0.5, 1.0)))
    return LOADED[-1], [4, 5] * 32


def odd(evidence: Evidence) -> dict[str, float]:
    """A metric of a random part of the samples."""
    return {"torch": float(torch.rand(())), "numpy": float(np.random.uniform()), "python": random.random()}


def test_own_parts_draw_the_same_each_time(tmp_path: Path) -> None:
    own = "tests.trainer.engine.test_worker"
    recipe = digits(
        data={"source": None, "call": f"{own}:made_up", "keep": {}}, train={"steps": 2},
        evaluation={"samples": 2, "loss_draws": 4, "metrics": [f"{own}:odd"]},
    )  # fmt: skip
    first, *_ = run(recipe, tmp_path / "first")
    again, *_ = run(recipe, tmp_path / "again")
    after, *_ = run(recipe, tmp_path / "again")  # its steps are done, and only the evaluation is made again
    assert all(torch.equal(each, LOADED[0]) for each in LOADED) and len(LOADED) == 3
    drawn = [{name: value for name, value in each.metrics.items() if name.startswith("eval")} for each in (first, again, after)]
    assert drawn[0] == drawn[1] == drawn[2] and len(drawn[0]) == 3
    assert again.objective == pytest.approx(first.objective, abs=0)
    other, *_ = run(recipe.model_copy(update={"seed": 1}), tmp_path / "other")
    assert not torch.equal(LOADED[3], LOADED[0]) and other.metrics != first.metrics
