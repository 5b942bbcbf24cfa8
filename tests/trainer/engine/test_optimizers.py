"""Optimisers that a recipe names: torch's own, and one of a user's with numbers of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from dualsweep.trainer.checks import before_loading
from dualsweep.trainer.config.yaml_file import Document
from dualsweep.trainer.engine.gradient_primal import GradientPrimal
from dualsweep.trainer.engine.loop import Loop
from dualsweep.trainer.engine.optimizers import Named, recall, remembered, stepper, take_over
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.recipe.own_part import OwnPart
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.recipe.train import Train
from tests.benchmarks.common import loop_of
from tests.trainer.conftest import WriteModule
from tests.trainer.engine.test_loop import check_resumed
from tests.trainer.recipes import digits

#: As Prodigy and its like do: a factor in each group that grows from step to step, a number for each parameter, tensors.
MODULE = """
import torch

class Growing(torch.optim.Optimizer):
    def __init__(self, parameters, lr=1.0, by=1.1):
        super().__init__(parameters, {"lr": lr, "d": 0.5, "by": by, "pair": (0.9, 0.5)})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                state["seen"] = state.get("seen", 0) + 1
                state["mean"] = state.get("mean", torch.zeros_like(parameter)) * group["pair"][0] + parameter.grad
                parameter -= group["lr"] * group["d"] / state["seen"] * state["mean"]
            group["d"] *= group["by"]

class Odd(torch.optim.SGD):
    def step(self):
        for group in self.param_groups:
            self.state[group["params"][0]]["who"] = self

class Nested(torch.optim.SGD):  # as bitsandbytes keeps what it quantised
    def step(self):
        for group in self.param_groups:
            for parameter in group["params"]:
                own = self.state[parameter].setdefault("quantised", {"mean": torch.zeros_like(parameter), "map": {"seen": 0}})
                own["map"]["seen"] += 1
                own["mean"] = own["mean"] * 0.9 + parameter.grad
                parameter.data -= group["lr"] / own["map"]["seen"] * own["mean"]

def split(parameters, lr, of):
    flat = [each for each in parameters if each.ndim < 2]
    rest = [each for each in parameters if each.ndim >= 2]
    groups = [{"params": rest, "weight_decay": 0.1}, {"params": flat, "weight_decay": 0.0, "lr": of * lr}]
    return torch.optim.AdamW(groups, lr=lr)

def none(parameters, lr): return "an optimiser"
def fails(parameters, lr): raise KeyError("lr")
def nothing(): return None
"""


def test_adamw_by_its_path_is_the_shipped_one() -> None:
    """Up to the rounding of the fused form."""
    own, options = torch.Generator().manual_seed(0), {"weight_decay": 0.1}
    start, gradients = torch.randn(50, generator=own), torch.randn(20, 50, generator=own)
    ended = []
    for optimizer in ("adamw", OwnPart(call="torch.optim:AdamW", options=dict(options))):
        weight = nn.Parameter(start.clone())
        made = stepper([weight], Train(steps=1, lr=0.01, optimizer=optimizer, **options))  # type: ignore[arg-type]
        for gradient in gradients:
            weight.grad = gradient.clone()
            made.step(torch.tensor(0.0))
        ended.append(weight.detach())
    assert not torch.allclose(ended[0], start, atol=0.05)
    torch.testing.assert_close(ended[0], ended[1], rtol=1e-5, atol=1e-6)


def test_a_step_of_gradient_descent_is_the_learning_rate_times_the_gradient() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    made = stepper([weight], Train(steps=1, lr=0.5, optimizer=OwnPart(call="torch.optim:SGD")))
    weight.grad = torch.tensor([0.2, -0.4])
    made.step(torch.tensor(0.0))
    torch.testing.assert_close(weight.detach(), torch.tensor([0.9, 2.2]))


@pytest.mark.parametrize("optimizer", ["adamw", OwnPart(call="torch.optim:SGD", options={"momentum": 0.9})])
def test_with_a_gradient_that_is_not_finite_nothing_moves(optimizer: Any) -> None:
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    made = stepper([weight], Train(steps=1, lr=0.5, optimizer=optimizer))
    for gradient, void in (([0.1, 0.1], 0.0), ([float("nan"), 0.1], 1.0)):
        before = weight.detach().clone()
        weight.grad = torch.tensor(gradient)
        made.step(torch.tensor(void))
        assert torch.equal(weight.detach(), before) == bool(void)
    assert all(value.isfinite().all() for value in remembered(made.optimizer)[0].values())


@pytest.mark.parametrize(
    "part",
    [
        {"call": "{module}:Growing", "options": {"by": 1.05}}, {"call": "torch.optim:RMSprop", "options": {"momentum": 0.5}},
        {"call": "{module}:Nested"}, {"call": "{module}:split", "options": {"of": 0.5}},
    ],
)  # fmt: skip
def test_interrupted_and_continued_is_bit_for_bit_the_uninterrupted_run(
    part: dict[str, Any], tmp_path: Path, module: WriteModule
) -> None:
    named = part | {"call": part["call"].format(module=module("growing", MODULE))}
    check_resumed(digits(checkpoint={"every": 6}, train={"optimizer": named}), tmp_path, 8)


def test_what_an_optimiser_remembers_is_put_back_whole(module: WriteModule) -> None:
    call = module("growing", MODULE)
    weights = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))]
    part = Train(steps=1, lr=0.1, optimizer=OwnPart(call=call + ":Growing"))
    first = stepper(weights, part).optimizer
    for each in weights:
        each.grad = torch.ones_like(each)
    first.step()
    tensors, numbers = remembered(first)
    assert sorted(tensors) == ["0.mean", "1.mean"] and numbers["state"] == {"0.seen": 1, "1.seen": 1}
    second = stepper(weights, part).optimizer
    recall(second, tensors, numbers)
    assert second.state_dict()["param_groups"][0]["d"] == pytest.approx(0.55)
    assert second.state_dict()["state"][1]["seen"] == 1
    odd = stepper(weights, Train(steps=1, lr=0.1, optimizer=OwnPart(call=call + ":Odd"))).optimizer
    odd.step()
    with pytest.raises(TrainingError, match=r"must remember tensors and plain numbers, .* but got a Odd as `who`"):
        remembered(odd)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("none", "must be a torch.optim.Optimizer, but got a str; return one"),
        ("fails", r"must take \(parameters, lr=…\) and its options, but got KeyError: 'lr'; change train.optimizer"),
    ],
)
def test_what_makes_no_optimiser_is_told(name: str, says: str, module: WriteModule) -> None:
    part = OwnPart(call=f"{module('growing', MODULE)}:{name}")
    with pytest.raises(TrainingError, match=says):
        Named([nn.Parameter(torch.ones(1))], Train(steps=1), part)


def test_a_wrong_path_is_told_by_a_light_check(module: WriteModule) -> None:
    path = module("growing", MODULE)
    for name, says in (
        ("absent", "train.optimizer.call: must lead to a function"),
        ("nothing", "must be called with (parameters, lr=…)"),
    ):
        told = before_loading.check(digits(train={"optimizer": {"call": f"{path}:{name}"}}), Document("", {}))
        assert len(told) == 1 and says in str(told[0])
    with pytest.raises(ValueError, match=r"write \{call: 'torch.optim:SGD'\}"):
        Recipe.model_validate(digits().model_dump(mode="json") | {"train": {"steps": 1, "optimizer": "torch.optim:SGD"}})


def test_torchs_muon_by_its_path_moves_a_matrix_by_the_orthogonal_part_of_its_gradient() -> None:
    """The first step is lr U V^T of G = U S V^T, each singular value up to five Newton-Schulz steps, whose range is 0.7 to 1.2
    (Jordan et al. 2024, *Muon*).
    """
    gradient = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    weight = nn.Parameter(torch.zeros(6, 6))
    part = OwnPart(call="torch.optim:Muon", options={"weight_decay": 0.0})
    made = stepper([weight], Train(steps=1, lr=0.5, optimizer=part))
    weight.grad = gradient.clone()
    made.step(torch.tensor(1.0))
    assert not weight.detach().any(), "a void step moves nothing"
    made.step(torch.tensor(0.0))
    left, _, right = torch.linalg.svd(gradient)
    inside = left.T @ (-weight.detach() / 0.5) @ right.T
    along, across = inside.diagonal(), inside - torch.diag(inside.diagonal())
    assert bool((along > 0.6).all()) and bool((along < 1.3).all())
    assert float(across.abs().max()) < 0.05


class Matrices(nn.Module):
    """A network of matrices alone, as Muon wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 16, bias=False), nn.Linear(16, 64, bias=False)

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.second(self.first(x.flatten(1)).relu() * (1 + t[:, None] / 50))
        return found.view_as(x)


def test_a_run_by_muon_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    muon = {"call": "torch.optim:Muon", "options": {"momentum": 0.9}}
    model = {"unet": None, "call": "tests.trainer.engine.test_optimizers:Matrices"}
    check_resumed(digits(checkpoint={"every": 6}, model=model, train={"optimizer": muon, "lr": 0.02}), tmp_path, 8)


def test_rates_of_groups_follow_the_schedule_alike_and_their_gradients_are_clipped_by_one_norm(module: WriteModule) -> None:
    """A group at half the rate keeps half the rate; the norm is that over all of the network, as without groups."""
    call, clip = module("growing", MODULE) + ":split", 1e-3
    plain = {"clip": clip, "lr": 2e-3, "lr_warmup": 4, "steps": 8}
    one = loop_of(digits(train={**plain, "optimizer": {"call": "torch.optim:AdamW"}}))
    two = loop_of(digits(train={**plain, "optimizer": {"call": call, "options": {"of": 0.5}}}))
    for loop in (one, two):
        loop.advance()
    rates = [group["lr"] for group in primal_of(two).optimizer.param_groups]
    assert rates == pytest.approx([5e-4, 2.5e-4])
    norms = [
        torch.cat([each.grad.flatten() for each in primal_of(loop).parameters if each.grad is not None]) for loop in (one, two)
    ]
    assert norms[0].norm() == pytest.approx(clip, rel=1e-3)
    torch.testing.assert_close(norms[0], norms[1])


def test_what_groups_remember_is_not_taken_over_in_part(module: WriteModule) -> None:
    """The factor `d` would start anew beside means that it has scaled; a changed option alone takes nothing away."""
    call, weight = module("growing", MODULE), nn.Parameter(torch.ones(2))

    def made(name: str, **options: float) -> Any:
        return stepper([weight], Train(steps=1, lr=0.1, optimizer=OwnPart(call=name, options=dict[str, Any](options))))

    for name, before, now, fits in ((call + ":Growing", 1.1, 1.1, False), ("torch.optim:RMSprop", 0.5, 0.9, True)):
        option = "by" if "Growing" in name else "momentum"
        old = made(name, **{option: before})
        weight.grad = torch.ones(2)
        old.step(torch.tensor(0.0))
        new = made(name, **{option: now})
        assert take_over(new, *remembered(old.optimizer)) is fits
        assert bool(remembered(new.optimizer)[0]) is fits


def primal_of(loop: Loop) -> GradientPrimal:
    assert isinstance(loop.primal, GradientPrimal)
    return loop.primal
