"""Residuals and losses of detailed balance, on a chain whose tilt is known in closed form, and by hand-rolled sums."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from dualsweep.trainer.recipe.rollout import Rollout
from dualsweep.trainer.samplers.rollout import Path
from dualsweep.trainer.sources.detailed_balance import LEAST, Balance, BalanceStep, Drawn, residuals

BATCH, STEPS = 6, 5  # states x_0 ... x_{K-1} of K = 5 steps; K - 1 = 4 of them have noise


def normal(x: Tensor, mean: Tensor, sigma: float) -> Tensor:
    return -0.5 * ((x - mean) / sigma).square() - math.log(sigma * math.sqrt(2 * math.pi))


def walk(shift: float, sigma: float) -> list[Tensor]:
    """x_{k+1} = x_k + shift + sigma z, [B] each."""
    source = torch.Generator().manual_seed(3)
    states = [torch.randn(BATCH, generator=source, dtype=torch.float64)]
    for _ in range(STEPS - 1):
        states.append(states[-1] + shift + sigma * torch.randn(BATCH, generator=source, dtype=torch.float64))
    return states


def drawn(reference: Tensor, final: Tensor, ahead: Tensor | None = None) -> Drawn:
    return Drawn(cast(Path, None), reference, torch.zeros_like(reference) if ahead is None else ahead, final)


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_the_tilted_walk_is_in_balance_whoever_drew_its_states(shift: float) -> None:
    """R = exp(a x) on a Gaussian walk: F(x_k) = E_pre[R | x_k] = exp(a x_k + (K - 1 - k) a² σ² / 2), and p moves by a σ²."""
    slope, sigma = 1.3, 0.6
    states = walk(shift, sigma)
    before, after = torch.stack(states[:-1], 1), torch.stack(states[1:], 1)
    left = torch.arange(STEPS - 1, 0, -1)
    flow = slope * before + left * slope**2 * sigma**2 / 2
    tilted = normal(after, before + slope * sigma**2, sigma)
    made = drawn(normal(after, before, sigma), slope * states[-1])
    torch.testing.assert_close(residuals(flow, tilted, made), torch.zeros(BATCH, STEPS - 1, dtype=torch.float64))
    # With the reference itself in place of the tilted walk the residual is minus what one step is worth beyond its mean.
    untilted = residuals(flow, normal(after, before, sigma), made)
    torch.testing.assert_close(untilted, -slope * (after - before) + slope**2 * sigma**2 / 2)


def test_the_part_ahead_counts_with_the_learned_one_at_both_ends_of_a_step() -> None:
    source = torch.Generator().manual_seed(0)
    learned, ahead, likelihoods, reference = torch.randn(4, BATCH, STEPS - 1, generator=source).unbind()
    final = torch.randn(BATCH, generator=source)
    residual = residuals(learned, likelihoods, drawn(reference, final, ahead))
    for sample in range(BATCH):
        flow = [*(learned + ahead)[sample].tolist(), float(final[sample])]
        for k in range(STEPS - 1):
            by_hand = flow[k] + float(likelihoods[sample, k]) - flow[k + 1] - float(reference[sample, k])
            assert float(residual[sample, k]) == pytest.approx(by_hand, abs=1e-5)


class Host:
    """Two workers, of which the other one's sum over its samples is known."""

    world = 2

    def __init__(self, other: Tensor) -> None:
        self._other = other

    def total(self, own: Tensor) -> Tensor:
        return own + self._other


def step_of(other: Tensor, size: int, closeness: float = 1.0, trace: float = 0.5) -> BalanceStep:
    """A step without its source: what is tested are sums over residuals."""
    step = BalanceStep.__new__(BalanceStep)
    made: Any = step
    made._source, made._size, made._closeness = SimpleNamespace(host=Host(other)), size, closeness
    made._balance = SimpleNamespace(spec=Rollout(flow={"trace": trace}))  # type: ignore[arg-type]
    return step


def test_the_baseline_is_the_mean_over_the_other_samples_of_all_workers() -> None:
    source = torch.Generator().manual_seed(1)
    whole = torch.randn(2 * BATCH, STEPS - 1, generator=source)
    mine, other = whole[:BATCH], whole[BATCH:]
    centred = step_of(other.sum(0), 2 * BATCH)._less_the_others(mine)
    for sample in range(BATCH):
        others = torch.cat([whole[:sample], whole[sample + 1 :]])
        torch.testing.assert_close(centred[sample], mine[sample] - others.mean(0))


def test_the_baseline_has_no_gradient_and_one_sample_has_none() -> None:
    values = torch.ones(1, STEPS - 1, requires_grad=True)
    step_of(torch.zeros(STEPS - 1), 1)._less_the_others(values).sum().backward()
    torch.testing.assert_close(values.grad, torch.ones(1, STEPS - 1))


@pytest.mark.parametrize("trace", [0.0, 0.5, 1.0])
def test_the_flow_learns_from_the_trace_of_later_residuals_with_the_later_flow_held_fixed(trace: float) -> None:
    source = torch.Generator().manual_seed(2)
    learned = torch.randn(BATCH, STEPS - 1, generator=source, requires_grad=True)
    errors = torch.randn(BATCH, STEPS - 1, generator=source)
    loss = step_of(torch.zeros(STEPS - 1), 2 * BATCH, closeness=0.3, trace=trace)._flow_loss(learned, errors)
    loss.backward()
    away = [[sum(trace ** (j - k) * float(row[j]) for j in range(k, STEPS - 1)) for k in range(STEPS - 1)] for row in errors]
    share = 0.3 * Host.world / (2 * BATCH)
    assert float(loss.detach()) == pytest.approx(share * sum(0.5 * each**2 for row in away for each in row), rel=1e-5)
    torch.testing.assert_close(learned.grad, share * torch.tensor(away))


def test_with_the_whole_trace_the_flow_goes_to_minus_the_cost_that_is_left() -> None:
    """learned - sum of later residuals is log R + Σ (log r - log p) whatever the flow is now: Monte Carlo's target."""
    source = torch.Generator().manual_seed(4)
    learned, likelihoods, reference = torch.randn(3, BATCH, STEPS - 1, generator=source).unbind()
    final = torch.randn(BATCH, generator=source)
    errors = residuals(learned, likelihoods, drawn(reference, final))
    wanted = final[:, None] + (reference - likelihoods).flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(learned - errors.flip(1).cumsum(1).flip(1), wanted)


def balance(anchor: int) -> Balance:
    made: Any = Balance.__new__(Balance)
    made.anchor = anchor
    return cast(Balance, made)


def test_the_reward_is_what_the_lagrangian_asks_for_in_units_of_the_closeness() -> None:
    """w KL + Σ w_i g_i has its minimum at the reference tilted by exp(-Σ (w_i / w) g_i); rewards enter as g = -r."""
    values = {0: torch.full((2, STEPS), 9.0), 1: torch.tensor([1.0, 2.0]), 2: torch.tensor([0.5, -0.5])}
    found = balance(0).log_reward(values, {0: 0.5, 1: -0.3, 2: 0.2})
    torch.testing.assert_close(found, torch.tensor([0.6 - 0.2, 1.2 + 0.2]))


def test_rewards_of_any_weight_tilt_as_it_says_where_the_closeness_is_the_objective() -> None:
    values, coefficients = {0: torch.tensor([9.0]), 1: torch.tensor([1.0])}, {0: 1 / 101, 1: -100 / 101}
    torch.testing.assert_close(balance(0).log_reward(values, coefficients), torch.tensor([100.0]))


def test_a_closeness_that_costs_nothing_yet_asks_for_no_tilt_without_bound() -> None:
    values = {0: torch.tensor([1.0]), 1: torch.tensor([9.0])}
    assert balance(1).closeness_weight({0: -1.0, 1: 0.0}) == LEAST
    torch.testing.assert_close(balance(1).log_reward(values, {0: -1.0, 1: 0.0}), torch.tensor([1 / LEAST]))
