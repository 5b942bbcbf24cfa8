"""Half precision: fp16 scales its gradients until they fit, keeps the scale in checkpoints, and trains as fp32 does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dualsweep.trainer.engine.gradient_primal import GradientPrimal
from tests.trainer.engine.test_accumulation import Listening, loop_of
from tests.trainer.engine.test_loop import Interrupted, run
from tests.trainer.recipes import digits

HALF: dict[str, Any] = {"precision": "fp16", "steps": 12}


def taken(folder: Path, precision: str, steps: int) -> tuple[GradientPrimal, Listening]:
    loop, coordinator = loop_of(folder, 1, train={"precision": precision})
    for _ in range(steps):
        loop.advance()
    assert isinstance(loop.primal, GradientPrimal)
    return loop.primal, coordinator


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_losses_are_those_of_full_precision(precision: str, tmp_path: Path) -> None:
    (_, full), (primal, half) = (taken(tmp_path, name, 20) for name in ("fp32", precision))
    assert half.reports[0].total == pytest.approx(full.reports[0].total, rel=0.01)
    # The first updates of fp16 are void until its scale fits.
    later = [np.sum([each.total for each in listening.reports[10:]], axis=0) for listening in (half, full)]
    assert later[0] == pytest.approx(later[1], rel=0.1)
    assert later[1][0] < 0.8 * 10 * full.reports[0].total[0], "it has learned"
    assert all(each.dtype == torch.float32 for each in primal.parameters)


def test_a_scale_too_large_voids_updates_until_gradients_fit(tmp_path: Path) -> None:
    primal, _ = taken(tmp_path, "fp16", 1)
    scale = primal.state()[1]["scaler"]["scale"]
    x, t = torch.randn(4, 1, 8, 8), torch.arange(4)
    norms = [float(primal.update([lambda: 3e4 * primal.predict(x, t).square().mean()])) for _ in range(30)]
    void = [norm != norm or norm == float("inf") for norm in norms]
    assert void[0] and not void[-1]
    assert primal.state()[1]["scaler"]["scale"] == scale / 2 ** sum(void)


def test_a_resumed_run_has_the_scale_that_it_had(tmp_path: Path) -> None:
    recipe = digits(model={"unet": {"channels": [8]}}, train=HALF, checkpoint={"every": 4}, evaluation={"samples": 0})
    *_, whole = run(recipe, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(recipe, tmp_path / "parts", 6)
    *_, parts = run(recipe, tmp_path / "parts")
    assert whole is not None and parts is not None
    assert whole.state["primal"]["scaler"] == parts.state["primal"]["scaler"]
    assert whole.state["primal"]["scaler"]["_growth_tracker"] > 0
    for group, tensors in whole.groups.items():
        assert all(torch.equal(tensors[name], parts.groups[group][name]) for name in tensors), group
