"""Rewards as training uses them: what is refused, what has a gradient, and the scale."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.evaluation.spread import evened
from dualsweep.trainer.rewards.evaluate import Checked, Normalised, checked
from dualsweep.trainer.rewards.registry import resolve
from dualsweep.trainer.rewards.shipped.call import Call
from dualsweep.trainer.rewards.spec import RewardContext
from tests.trainer.rewards.conftest import Linear, built, context_of, noise

X = noise(4, 3, 8, 8).float()


def mean(x: Tensor) -> Tensor:
    return x.flatten(1).mean(dim=1)


@pytest.mark.parametrize(
    ("reward", "found"),
    [
        (lambda x: x.mean(), r"shape \[\]"),
        (lambda x: mean(x)[:, None], r"shape \[4, 1\]"),
        (lambda x: mean(x)[:3], r"shape \[3\]"),
        (lambda x: x, r"shape \[4, 3, 8, 8\]"),
        (lambda x: mean(x).tolist(), "a list"),
        (lambda x: None, "a NoneType"),
        (lambda x: np.zeros(4), "a ndarray"),
        (lambda x: torch.fft.fft(mean(x)), "a torch.complex64 tensor"),
    ],
)
def test_anything_but_one_value_for_each_sample_is_refused(reward: Any, found: str) -> None:
    rule = r"a reward must return one value for each sample, a tensor \[B\] of shape \[4\], but got "
    with pytest.raises(TrainingError, match=rule + found + r" from mine for samples of \[4, 3, 8, 8\]; fix it"):
        Checked("mine", reward)(X)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_refused_with_their_count(bad: float) -> None:
    with pytest.raises(TrainingError, match=r"must return finite values, but got NaN or infinity for 2 of 4 samples from mine"):
        Checked("mine", lambda x: mean(x) * torch.tensor([1, bad, 1, bad]))(X)


def test_samples_that_are_not_finite_are_not_blamed_on_the_reward() -> None:
    x = X.clone()
    x[1, 0, 0, 0], x[2, 1, 0, 0] = float("nan"), float("inf")
    with pytest.raises(TrainingError, match="rewards must be of finite samples, but got NaN or infinity in 2 of 4 for mine"):
        Checked("mine", mean)(x)
    reward = Checked("mine", lambda x: mean(x) * torch.tensor([1, 1, 1, float("nan")]))
    values = reward.later(x)
    assert values.isfinite().tolist() == [True, False, False, False]
    assert reward.unread().isfinite().tolist() == [True, True, True, False]


def test_an_exception_names_the_reward_and_keeps_its_cause() -> None:
    with pytest.raises(TrainingError, match="the reward mine must not fail, but got KeyError: 'score'; fix it") as raised:
        Checked("mine", lambda x: dict[str, Tensor]()["score"])(X)
    assert isinstance(raised.value.__cause__, KeyError)


@pytest.mark.parametrize("asks", [lambda: torch.empty(1 << 55), lambda: np.empty(1 << 55)])
def test_memory_that_runs_out_is_no_mistake_of_the_reward(asks: Callable[[], object]) -> None:
    def large(x: Tensor) -> Tensor:
        asks()
        return mean(x)

    with pytest.raises((MemoryError, RuntimeError), match=r"allocate (memory|256\. PiB|.* for an array)"):
        Checked("mine", large)(X)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float16, torch.float32, torch.float64])
def test_values_of_any_real_type_are_at_least_float32(dtype: torch.dtype) -> None:
    values = Checked("mine", lambda x: torch.tensor([0, 1, 1, 0], dtype=dtype))(X)
    assert values.tolist() == [0, 1, 1, 0]
    assert values.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_a_gradient_flows_where_it_is_asked_for_and_only_there() -> None:
    x = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(Checked("mine", mean, gradient=True)(x).sum(), x)
    torch.testing.assert_close(gradient, torch.full_like(x, 1 / 192))
    assert not Checked("mine", mean)(x).requires_grad
    with torch.no_grad():
        assert not Checked("mine", mean, gradient=True)(x).requires_grad


@pytest.mark.parametrize(
    "reward",
    [
        lambda x: mean(x.detach()),
        lambda x: mean((x > 0).float()),
        lambda x: torch.zeros(len(x)),
        lambda x: nn.Linear(1, 1)(torch.zeros(len(x), 1))[:, 0],  # a gradient, but not to the samples
    ],
)
def test_values_without_a_gradient_to_the_samples_are_refused_on_first_use(reward: Any) -> None:
    rule = (
        "`gradient: backpropagation` needs a differentiable reward, but got `mine`, which has no gradient; use `gradient: policy"
    )
    with pytest.raises(TrainingError, match=rule):
        Checked("mine", reward, gradient=True)(X)
    assert Checked("mine", reward)(X).shape == (4,)


def test_checked_builds_what_a_recipe_names() -> None:
    value = checked(resolve("brightness"), context_of(), gradient=True)(X)
    torch.testing.assert_close(value, built("brightness")(X))
    assert (
        checked(resolve({"class_probability": 1}), context_of(judge=Linear(192, 2), class_names=(0, 1)), gradient=True)(X).min()
        > 0
    )
    with pytest.raises(BadDataError, match=r"reward.saturation: must be given images of 3 channels"):
        checked(resolve("saturation"), context_of(shape=(1, 8, 8)))
    with pytest.raises(BadDataError, match=r"constraints.1.reward.jpeg_size: `gradient: backpropagation` needs"):
        checked(resolve("jpeg_size"), context_of(), gradient=True, keys=("constraints", 1, "reward"))
    with pytest.raises(TrainingError, match="must have a judge that knows the class, but got none; give data with labels"):
        checked(resolve({"class_probability": 1}), context_of(class_names=(0, 1)))


def test_a_users_function_by_its_path(module: Callable[[str, str], None]) -> None:
    module("own_rewards", "def mean(x):\n    return x.flatten(1).mean(1)\ndef wrong(x):\n    return x.mean()\n")
    values = checked(resolve({"call": "own_rewards:mean"}), context_of(shape=(2,)), gradient=True)(X[:, 0, 0, :2])
    torch.testing.assert_close(values, X[:, 0, 0, :2].mean(dim=1))
    with pytest.raises(TrainingError, match=r"but got shape \[\] from own_rewards:wrong"):
        checked(resolve({"call": "own_rewards:wrong"}), context_of())(X)


def test_normalised_values_have_mean_zero_and_deviation_one() -> None:
    values = 7 + 3 * torch.randn(1000, generator=torch.Generator().manual_seed(0))
    scale = Normalised.of(values, "mine")
    assert scale.mean == pytest.approx(values.numpy().mean(dtype=np.float64))
    assert scale.std == pytest.approx(values.numpy().std(dtype=np.float64, ddof=1))
    normal = scale(values)
    assert (
        normal.dtype == torch.float32 and abs(float(normal.mean())) < 1e-5 and float(normal.std()) == pytest.approx(1, abs=1e-5)
    )
    assert Normalised.from_json(json.loads(json.dumps(scale.to_json()))) == scale
    tiny = Normalised.of(1e-12 * values, "mine")  # a small scale is a scale
    assert tiny.std == pytest.approx(1e-12 * scale.std, rel=1e-5)


def test_prompts_that_have_a_sample_more_count_as_much_as_others() -> None:
    """[0, 2] of one prompt and [5] of another have the mean of 1 and 5."""
    scale = Normalised.of(torch.tensor([0.0, 2.0, 5.0]), "mine", evened(np.array([0, 0, 1])))
    assert scale.mean == pytest.approx(3.0)
    assert scale.std == pytest.approx(np.sqrt((0.75 * (9 + 1) + 1.5 * 4) / 2))
    assert evened(np.array([0, 1, 1, 0])) is None and evened(None) is None


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (torch.zeros(5), "0 for all of 5 samples"),
        (torch.full((5,), 0.3), "0.3 for all of 5 samples"),
        (torch.full((100,), 0.3) + 3e-8 * (torch.arange(100) % 2), "0.3 for all of 100 samples"),
        (torch.tensor([0.3]), "1 samples"),
        (torch.zeros(0), "0 samples"),
    ],
)
def test_a_constant_reward_has_no_scale(values: Tensor, found: str) -> None:
    with pytest.raises(TrainingError, match=f"the reward mine must vary over at least two samples .*, but got {found}; choose"):
        Normalised.of(values, "mine")


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.0), (0.0, -1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_a_scale_is_finite_and_positive(mean: float, std: float) -> None:
    with pytest.raises(ValueError, match="must be a finite mean and a positive std"):
        Normalised(mean, std)


def darkening(x: Tensor) -> Tensor:
    return x.clamp_(0, 1).flatten(1).mean(1)


def shouting(x: Tensor, prompts: list[str]) -> Tensor:
    return x.mul_(2.0).flatten(1).mean(1)


@pytest.mark.parametrize("gradient", [False, True], ids=["black box", "backpropagation"])
@pytest.mark.parametrize("name", ["darkening", "shouting"])
def test_what_a_reward_does_to_its_samples_is_nobody_elses(name: str, gradient: bool) -> None:
    """The same samples are other terms' too."""
    context = RewardContext((1, 4, 4), torch.device("cpu"), lambda: None, (), ("a", "b"))
    x = torch.linspace(-1, 1, 32).view(2, 1, 4, 4).requires_grad_(gradient)
    before = x.detach().clone()
    values = checked(Call(path=f"{__name__}:{name}"), context, gradient)(x * 1.0 if gradient else x, torch.tensor([0, 1]))
    assert torch.equal(x.detach(), before)
    expected = before.clamp(0, 1) if name == "darkening" else 2 * before
    torch.testing.assert_close(values.detach(), expected.flatten(1).mean(1))
    if gradient:
        (slope,) = torch.autograd.grad(values.sum(), x)
        assert slope.abs().sum() > 0
