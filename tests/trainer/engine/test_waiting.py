"""Between two dual steps the host never waits for the device; what the device decides alone is what the host decided before."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.assembly import prepare
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.gradient_primal import GradientPrimal
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.loop import Loop
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.rewards.evaluate import Checked
from dualsweep.trainer.sources.mixture import MixtureSource
from dualsweep.trainer.sources.value_accumulator import ValueAccumulator
from tests.trainer.conftest import WriteModule
from tests.trainer.engine.waiting import Device, Waited
from tests.trainer.recipe.test_formulations import ALIGNMENT, COMBINED
from tests.trainer.recipes import digits

FOUR = {"name": "four", "data": {"classes": [4]}, "at_most": 0.5}
CLOSE = {"name": "memory", "closeness": {"samples": 16}, "at_most": 0.1}
SMALL = {"unet": {"channels": [8]}}
TWO_TERMS: dict[str, Any] = {
    "formulation": "combined", "models": ALIGNMENT["models"], "model": SMALL, "constraints": [FOUR, CLOSE],
    "objective": {"data": {"all": True}},
}  # fmt: skip
ROLLOUT = ALIGNMENT["rollout"]
CASES: dict[str, dict[str, Any]] = {
    "no constraint": {"constraints": []},
    "one constraint": {"constraints": [FOUR]},
    "three constraints": {
        "constraints": [{**FOUR, "name": str(each), "data": {"classes": [each]}} for each in (4, 5, 6)],
        "train": {"batch_size": 24},
    },
    "balanced": {"data": {"balance": True}},
    "two terms": TWO_TERMS,
    "a KL along trajectories": {**TWO_TERMS, "objective": {"path_kl": {}}, "rollout": {"steps": 3, "batch_size": 4}},
    "separate": {"train": {"batches": "separate", "constraint_batch": 4}},
    "min_snr": {"train": {"loss_weight": "min_snr"}},
    "elbo, two terms": {**TWO_TERMS, "train": {"loss_weight": "elbo"}},
    "v, dropout, bf16, no clip": {
        "schedule": {"prediction": "v_prediction"}, "train": {"precision": "bf16", "clip": None},
        "model": {"unet": {"channels": [8, 16], "norm_groups": 8, "dropout": 0.2}},
    },
    "in pieces, two terms, activations again": {**TWO_TERMS, "train": {"accumulate": 3, "checkpointing": True}},
    "fp16": {"train": {"precision": "fp16"}},
    "flow": {"schedule": {"prediction": "flow"}},
    "moved, offsets": {"data": {"random_flip": True, "random_crop": 1}, "train": {"offset_noise": 0.1}},
    "edm, power average": {"schedule": {"name": "edm"}, "train": {"ema": {"sigma_rel": 0.1}}},
    "edm's weight, ramp": {"train": {"loss_weight": "edm", "ema": {"decay": 0.99, "rampup": 0.1}}},
    "rewards by backpropagation": ALIGNMENT,
    "rewards, truncated, activations again": {
        **ALIGNMENT, "rollout": {**ROLLOUT, "truncation": {"kind": "uniform"}, "activation_checkpointing": True},
    },
    "black boxes": {**ALIGNMENT, "rollout": {**ROLLOUT, "gradient": "policy_gradient", "updates": 2}},
    "black boxes, by balance": {**ALIGNMENT, "rollout": {**ROLLOUT, "gradient": "dag"}},
    "black boxes, by policy gradient on balance": {**ALIGNMENT, "rollout": {**ROLLOUT, "gradient": "dag_kl", "updates": 2}},
    "rewards and data": COMBINED,
}  # fmt: skip


def begun(folder: Path, every: int = 10, **sections: Any) -> Loop:
    """A loop after its first dual step."""
    recipe = digits(**{"model": SMALL, **sections, "dual": {"step_size": 0.1, "every": every}})
    loop = Loop(prepare(recipe, LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(str(folder)))), lambda _: {})
    loop.host.coordinator.begin(loop.state, 1)
    for _ in range(every):
        loop.advance()
    return loop


def unread(loop: Loop, device: Device, steps: int) -> None:
    with device.unread():
        for _ in range(steps):
            loop.advance()


@pytest.mark.parametrize("case", CASES)
def test_no_step_between_dual_steps_waits(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, device = begun(tmp_path, **CASES[case]), Device(monkeypatch)
    unread(loop, device, 9)
    loop.advance()
    assert loop.step == 20 and loop.updates.most == 0


@pytest.mark.parametrize("case", ["no constraint", "three constraints", "two terms"])
def test_where_every_step_is_a_dual_step_only_its_report_waits(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, device = begun(tmp_path, every=1, **CASES[case]), Device(monkeypatch)
    with pytest.raises(Waited):
        unread(loop, device, 1)
    loop = begun(tmp_path, every=1, **CASES[case])
    device.reads(loop.updates, "read")
    device.reads(loop.sums, "report")
    unread(loop, device, 4)
    assert loop.step == 5 and loop.state.version >= 4


def looking(model: nn.Module, given: Any, prediction: Tensor) -> Tensor | None:
    """What a user's model may do with its own prediction."""
    return prediction.clamp(-1e6, 1e6) if prediction.abs().max() > 1e6 else None


def test_a_users_model_that_waits_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, device = begun(tmp_path), Device(monkeypatch)
    loop.primal.predictor.register_forward_hook(looking)
    with pytest.raises(Waited, match="__bool__"):
        unread(loop, device, 1)


def masked_values(self: Any, prediction: Tensor, noised: Any, part: np.ndarray) -> Tensor:
    values = torch.zeros(len(part))
    for term, which in self._terms:
        mask = torch.from_numpy(np.isin(part, which))
        values[mask] = term.values(prediction, noised)[mask]
    return values


def summed_at_once(self: Any, columns: Any, values: Tensor, places: Any) -> None:
    self.sums = np.bincount(columns, values.detach().double().cpu().numpy(), 3)


def decided_here(update: Callable[..., Tensor], self: Any, surrogates: Any) -> Tensor:
    return torch.tensor(float(update(self, surrogates)))


#: What was there before, line by line: each waits once a step.
BEFORE: dict[str, tuple[type, str, Callable[..., Any]]] = {
    "terms by masks": (MixtureSource, "values", masked_values),
    "sums of each step": (ValueAccumulator, "add_stratified", summed_at_once),
    "a norm that the host reads": (GradientPrimal, "update", partial(decided_here, GradientPrimal.update)),
}


@pytest.mark.parametrize("line", BEFORE)
def test_a_step_as_it_was_is_noticed(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = begun(tmp_path, **TWO_TERMS)
    owner, name, before = BEFORE[line]
    monkeypatch.setattr(owner, name, lambda *args: before(*args))
    with pytest.raises(Waited):
        unread(loop, Device(monkeypatch), 1)


def checked_at_once(self: Checked, x: Tensor, prompts: Tensor | None = None) -> Tensor:
    values = self._values(x, prompts)
    assert values.isfinite().all()
    return values


@pytest.mark.parametrize("case", ["rewards by backpropagation", "black boxes"])
def test_rewards_that_are_checked_at_every_call_are_noticed(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = begun(tmp_path, **CASES[case])
    monkeypatch.setattr(Checked, "later", checked_at_once)
    with pytest.raises(Waited):
        unread(loop, Device(monkeypatch), 1)


ODD = """
extra = 0.0

def odd(x):
    return x.mean((1, 2, 3)) + extra
"""


@pytest.mark.parametrize("gradient", ["backpropagation", "policy_gradient", "dag", "dag_kl"])
@pytest.mark.parametrize("extra", [np.nan, np.inf])
def test_a_reward_that_is_not_finite_is_told_at_the_dual_step(
    gradient: str, extra: float, tmp_path: Path, module: WriteModule
) -> None:
    """Also where its gradient is finite, and the weights were updated along it."""
    module("odd_reward", ODD)
    constraints = [ALIGNMENT["constraints"][0], {"name": "odd", "reward": {"call": "odd_reward:odd"}, "at_least": 0.1}]
    loop = begun(tmp_path, **{**ALIGNMENT, "constraints": constraints, "rollout": {**ROLLOUT, "gradient": gradient}})
    reward: Any = sys.modules["odd_reward"]
    reward.extra = extra
    loop.advance()
    reward.extra = 0.0
    for _ in range(8):
        loop.advance()
    with pytest.raises(TrainingError, match=r"NaN or infinity for (\d+) of \1 samples from .*odd; fix it \(step 10\)"):
        loop.advance()
    reward.extra = extra
    with pytest.raises(TrainingError, match=r"NaN or infinity for 8 of 8 samples from .*odd; fix it$"):
        loop.sources[0].measure(np.ones(3) / 3, False, range(8))
