"""Half precision: fp16 scales its gradients until they fit, keeps the scale in checkpoints, and trains as fp32 does."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dualsweep.trainer.engine.gradient_primal import GradientPrimal
from dualsweep.trainer.rng import Stream
from dualsweep.trainer.samplers.rollout import roll_out
from dualsweep.trainer.sources.mixture import MixtureSource, MixtureStep
from dualsweep.trainer.sources.rollout import RolloutSource
from tests.trainer.engine.test_accumulation import Listening, loop_of
from tests.trainer.engine.test_loop import Interrupted, run
from tests.trainer.models.test_build import aligned, prepared
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


def test_a_batch_of_the_mixture_weighs_its_values_in_full_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gradient with respect to a value is its weight, the multipliers', of which bf16 would keep 8 bits."""
    (source,) = prepared(digits(), tmp_path).sources
    assert isinstance(source, MixtureSource)
    step, weighed = source.begin_step(0, np.array([0.5, 0.3, 0.2])), list[torch.Tensor]()
    original = source.values

    def values(*given: Any) -> torch.Tensor:
        weighed.append(original(*given))
        weighed[-1].retain_grad()
        return weighed[-1]

    monkeypatch.setattr(source, "values", values)
    with torch.autocast("cpu", torch.bfloat16):
        loss = step.loss(0)
    loss.backward()
    assert isinstance(step, MixtureStep) and not torch.equal(step._weight, step._weight.bfloat16().float())
    assert loss.dtype == torch.float32 and weighed[0].grad is not None
    assert torch.equal(weighed[0].grad, step._weight)


SHOWN: list[torch.Tensor] = []


def noted(x: torch.Tensor) -> torch.Tensor:
    """A reward with a product of matrices, which autocast computes in half precision."""
    SHOWN.append(x)
    return torch.tanh(x).flatten(1) @ torch.linspace(-1.0, 1.0, x[0].numel(), device=x.device)


@pytest.mark.parametrize("gradient", ["backpropagation", "policy_gradient"])
def test_samples_are_decoded_and_scored_in_full_precision(gradient: str, tmp_path: Path, text_to_image: str) -> None:
    rolling = {"steps": 3, "batch_size": 4, "normalize": False, "gradient": gradient}
    constraint = {"name": "own", "reward": {"call": "tests.trainer.engine.test_precision:noted"}, "at_least": 0.5}
    recipe = aligned({"load": text_to_image, "prompt": "a pear"}, constraints=[constraint], rollout=rolling)
    run = prepared(recipe, tmp_path)
    (source,) = run.sources
    assert isinstance(run.primal, GradientPrimal)
    assert isinstance(source, RolloutSource)
    with torch.autocast("cpu", torch.bfloat16):
        path = roll_out(source.forward, source.steps, source.noise(Stream.ROLLOUT, 0, range(4)))
        values = source.values(path)[1]
        image = SHOWN[-1]
    with torch.no_grad():
        torch.testing.assert_close(image, source.setting.space.decode(path.samples), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(values, noted(image), rtol=1e-5, atol=1e-6)
    assert image.dtype == values.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        loss = source.begin_step(0, np.array([0.0, 1.0])).loss(0)
    loss.backward()
    gradients = [each.grad for each in run.primal.parameters]
    assert any(each is not None and each.isfinite().all() and each.abs().sum() > 0 for each in gradients)


def gradients_of_matrices(folder: Path, precision: str, gradient: str, model: str) -> dict[str, torch.Tensor]:
    """Those of one update, by name."""
    rolling = {"steps": 3, "batch_size": 4, "normalize": False, "gradient": gradient}
    constraint = {"name": "own", "reward": {"call": "tests.trainer.engine.test_precision:noted"}, "at_least": 0.5}
    train = {"steps": 4, "precision": precision, "clip": None}
    run = prepared(aligned({"load": model, "prompt": "a pear"}, constraints=[constraint], rollout=rolling, train=train), folder)
    weights = np.array([0.5, 0.5])
    run.primal.begin(0, weights)
    (source,) = run.sources
    run.primal.update([partial(source.begin_step(0, weights).loss, 0)])
    matrices = {name: each for name, each in run.primal.predictor.named_parameters() if each.ndim >= 2}
    return {name: each.grad for name, each in matrices.items() if each.grad is not None}


@pytest.mark.parametrize("gradient", ["policy_gradient", "dag"])
def test_weights_cast_while_samples_are_drawn_have_gradients(gradient: str, tmp_path: Path, text_to_image: str) -> None:
    """Samples are drawn without gradients first: a weight cast for those must not be kept, as a constant, for what follows."""
    full, half = (gradients_of_matrices(tmp_path / name, name, gradient, text_to_image) for name in ("fp32", "bf16"))
    away = {name: float((half[name] - full[name]).norm() / full[name].norm()) for name in full}
    assert len(away) > 20
    assert max(away.values()) < 0.4, away  # a gradient that is lost is away by 1
