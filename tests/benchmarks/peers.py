"""What a user would write: the shipped digits with a batch for each constraint, in plain torch and with Cooper.

The same network, data, noise schedule, optimiser and dual step size as `sweeps/recipes/digits.yaml`, whose relative budgets
become violation = constraint's loss - objective's loss - budget. Neither clips.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cooper
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dualsweep.trainer.data.splits import assemble
from dualsweep.trainer.models.build import build
from dualsweep.trainer.models.schedules import noise_schedule
from dualsweep.trainer.recipe.recipe import Recipe


class Problem:
    """The network, its losses on random samples, and the averaged weights, which are kept where `averaged`."""

    def __init__(self, recipe: Recipe, batch: int, constraint_batch: int, averaged: bool = False) -> None:
        torch.manual_seed(recipe.seed)
        data = assemble(recipe)
        self.model: Any = build(recipe, data.examples.shape)
        self.schedule: Any = noise_schedule(recipe, data.examples.shape)
        self.parts = [data.examples.fetch(rows) for rows in data.rows]
        self.sizes = [batch] + [constraint_batch] * len(recipe.constraints)
        self.budgets = torch.tensor([constraint.budget for constraint in recipe.constraints])
        self.dual_rate = float(recipe.dual.step_size)  # type: ignore[arg-type]  # the shipped recipe has one number
        self.lr = recipe.train.lr
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=self.lr, fused=True)
        self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(recipe.train.ema)) if averaged else None

    def loss(self, part: int) -> Tensor:
        """The mean loss on a random batch of one part of the data; the objective's is part 0."""
        images = self.parts[part]
        x = images[torch.randint(len(images), (self.sizes[part],))]
        noise, t = torch.randn_like(x), torch.randint(self.schedule.config.num_train_timesteps, (len(x),))
        target = self.schedule.get_velocity(x, noise, t)
        loss: Tensor = (self.model(self.schedule.add_noise(x, noise, t), t) - target).square().mean()
        return loss

    def stepped(self) -> None:
        """Averages the weights after a step."""
        if self.average is not None:
            self.average.update_parameters(self.model)

    def rate(self, share: float) -> None:
        """Sets the learning rate to `share` of the recipe's."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * share


def separate_batches(problem: Problem) -> Callable[[], object]:
    """A step with a batch for each constraint, and dual ascent after each, as the research code of [CDM] has it."""
    multipliers = torch.zeros(len(problem.budgets))

    def step() -> None:
        nonlocal multipliers
        objective = problem.loss(0)
        violations = torch.stack([problem.loss(1 + i) for i in range(len(multipliers))]) - objective - problem.budgets
        problem.optimizer.zero_grad()
        (objective + multipliers @ violations).backward()
        problem.optimizer.step()
        multipliers = (multipliers + problem.dual_rate * violations.detach()).clamp(min=0.0)
        problem.stepped()

    return step


class _Constrained(cooper.ConstrainedMinimizationProblem):  # type: ignore[misc]  # mypy does not follow cooper
    """The problem in Cooper's words: one dense multiplier of all constraints."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.problem = problem
        self.bounds = cooper.Constraint(
            cooper.ConstraintType.INEQUALITY,
            cooper.formulations.Lagrangian,
            multiplier=cooper.multipliers.DenseMultiplier(num_constraints=len(problem.budgets)),
        )

    def compute_cmp_state(self) -> cooper.CMPState:
        objective = self.problem.loss(0)
        values = torch.stack([self.problem.loss(1 + i) for i in range(len(self.problem.budgets))])
        violations = values - objective - self.problem.budgets
        return cooper.CMPState(objective, {self.bounds: cooper.ConstraintState(violation=violations)})


def with_cooper(problem: Problem) -> Callable[[], object]:
    """A step by Cooper's `SimultaneousOptimizer`."""
    constrained = _Constrained(problem)
    ascent = torch.optim.SGD(constrained.dual_parameters(), lr=problem.dual_rate, maximize=True)
    both = cooper.optim.SimultaneousOptimizer(constrained, primal_optimizers=problem.optimizer, dual_optimizers=ascent)

    def step() -> None:
        both.roll()
        problem.stepped()

    return step
