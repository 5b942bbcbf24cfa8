"""Gradients as stretches of memory, against torch's own zeroing, norm and clipping of each."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dualsweep.trainer.engine.gradients import Gradients


def network() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(144, 5), nn.Linear(5, 1))
    made[0].to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    odd = nn.Parameter(torch.randn(6, 4).t()[:, ::2])  # neither laid out by rows nor by channels
    made.register_parameter("odd", odd)
    return made


def backward(made: nn.Sequential, times: float = 1.0) -> None:
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    (times * (made(x).square().sum() + made.get_parameter("odd").square().sum())).backward()


@pytest.mark.parametrize("most", [0.5, 1e9, float("inf")])
def test_norm_and_clipping_are_torch_s_own(most: float) -> None:
    ours, theirs = network(), network()
    gradients = Gradients(list(ours.parameters()), laid=True)
    for times in (1.0, 3.0):
        theirs.zero_grad(set_to_none=False)
        gradients.zero()
        assert all((each.grad == 0).all() for each in ours.parameters() if each.grad is not None)
        for made in (ours, theirs):
            backward(made, times)
        expected = nn.utils.clip_grad_norm_(theirs.parameters(), most)
        torch.testing.assert_close(gradients.shortened(most), expected)
        for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(own.grad, other.grad)


def test_they_lie_in_one_stretch_and_stay_there() -> None:
    made = network()
    gradients = Gradients(list(made.parameters()), laid=True)
    backward(made)
    places = [each.grad.data_ptr() for each in made.parameters() if each.grad is not None]
    stretch, odd = sorted(gradients.whole, key=Tensor.numel, reverse=True)
    assert stretch.numel() == sum(each.numel() for name, each in made.named_parameters() if name != "odd")
    assert odd.numel() == made.get_parameter("odd").numel()
    first = made.get_parameter("0.weight")
    assert first.grad is not None and first.grad.stride() == first.stride() == (9, 1, 3, 1)
    gradients.zero()
    backward(made)
    assert [each.grad.data_ptr() for each in made.parameters() if each.grad is not None] == places


def test_of_others_stretches_that_move_are_found_again() -> None:
    """As DDP's, which lays them out anew after its first step; at first there are none."""
    made = network()
    gradients = Gradients([each for name, each in made.named_parameters() if name != "odd"], laid=False)
    gradients.zero()
    backward(made)
    before = gradients.shortened(float("inf"))
    assert len(gradients.whole) == 8  # each by itself
    named = [each for name, each in made.named_parameters() if name != "odd"]
    parts = torch.cat([each.grad.flatten() for each in named if each.grad is not None])
    for parameter, part in zip(named, parts.split([each.numel() for each in named]), strict=True):
        parameter.grad = part.view_as(parameter)
    (stretch,) = gradients.whole
    assert stretch.data_ptr() == parts.data_ptr() and stretch.numel() == parts.numel()
    torch.testing.assert_close(gradients.shortened(1.0), before)
    torch.testing.assert_close(torch.linalg.vector_norm(parts), torch.tensor(1.0))


def test_half_a_stretch_is_not_touched_beyond_its_gradients() -> None:
    parameter, neighbour = nn.Parameter(torch.zeros(3)), torch.arange(5.0)
    parameter.grad = neighbour[:3]
    gradients = Gradients([parameter], laid=False)
    gradients.shortened(0.1)
    gradients.zero()
    assert neighbour.tolist() == [0.0, 0.0, 0.0, 3.0, 4.0]


def test_a_norm_that_is_not_finite_is_told() -> None:
    made = network()
    gradients = Gradients(list(made.parameters()), laid=True)
    backward(made)
    made.get_parameter("3.weight").grad[0, 0] = float("inf")  # type: ignore[index]
    assert not gradients.shortened(1.0).isfinite()
