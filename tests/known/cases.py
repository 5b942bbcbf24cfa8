"""The cases of method.md §4: each a recipe as a user writes it, and what its result must be.

`CASES` are made when asked for. tests/known runs them in one process, tests/benchmarks/bench_known_answers.py by the command.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from dualsweep.trainer.engine.sample_command import restore
from dualsweep.trainer.models.schedules import noise_schedule
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.samplers.chain import steps_of
from dualsweep.trainer.terms.losses import Noised, weighted_errors
from tests.known import exact, models
from tests.known.verdicts import Ending, Near, Verdict

CALL = "tests.known.models:{}".format
Plain = dict[str, Any]
#: A result as `dualsweep train --json` writes it, to what is asked of it.
Judge = Callable[[Mapping[str, Any]], list[Verdict]]


@dataclass(frozen=True)
class Case:
    """A recipe's document and the judge of its result."""

    plain: Plain
    judge: Judge

    @property
    def recipe(self) -> Recipe:
        return Recipe.model_validate(self.plain)


def document(formulation: str, model: str, shape: list[int], constraints: list[Plain], **sections: Any) -> Plain:
    return {
        "name": "known", "formulation": formulation, "model": {"call": CALL(model), "shape": shape},
        "schedule": {"timesteps": models.T}, "constraints": constraints,
        "evaluation": {"samples": 0, "loss_draws": 20_000, "batch_size": 5000}, "checkpoint": {"every": 10**6},
        "feasibility": {"draws": 1}, **sections,
    }  # fmt: skip


def column(result: Mapping[str, Any], key: str) -> exact.Array:
    """`multiplier`, `value`, … of each constraint, [m]."""
    return np.array([each[key] for each in result["constraints"].values()])


# Alignment of a Gaussian in the plane to linear rewards.

REWARDS = {"first": [1.0, 0.0], "second": [0.0, 1.0], "both": [1.0, 1.0]}
#: The first m of these; the third does not bind.
THRESHOLDS = {"first": 0.8, "second": 0.6, "both": 1.0}


def alignment(count: int, prefix: str = "", **sections: Any) -> Plain:
    """E r >= c for the first `count` rewards, those of models.py whose names begin with `prefix`."""
    constraints = [
        {"name": name, "reward": {"call": CALL(prefix + name)}, "at_least": THRESHOLDS[name]} for name in list(REWARDS)[:count]
    ]
    return document("alignment", "plane", [2], constraints, **sections)


def aligned(count: int, prefix: str, gradient: str, steps: int, batch: int, **dual: Any) -> Plain:
    return alignment(
        count, prefix, dual={"rule": "newton", "step_size": 0.3, "every": 10, "staleness": 0, **dual},
        train={"steps": steps, "lr": 0.02, "lr_schedule": "wsd", "clip": None, "ema": 0.99},
        rollout={"steps": 10, "batch_size": batch, "gradient": gradient, "normalize": False},
    )  # fmt: skip


def exact_alignment(plain: Plain) -> tuple[exact.Array, float]:
    """Multipliers [m] and KL of the discretised sampler's own best answer."""
    recipe = Recipe.model_validate(plain)
    steps = steps_of(noise_schedule(recipe, (2,)), recipe.rollout.steps, recipe.rollout.eta)
    moments = exact.sampler_moments(models.Gaussian(*models.PLANE), steps)
    names = [each.name for each in recipe.constraints]
    wanted = np.array([THRESHOLDS[name] for name in names])
    return exact.alignment(*moments, np.array([REWARDS[name] for name in names]), wanted, recipe.dual.alpha or np.inf)


def alignment_case(within: float, plain: Plain) -> Case:
    wanted, kl = exact_alignment(plain)

    def judge(result: Mapping[str, Any]) -> list[Verdict]:
        return [
            Near("λ", column(result, "multiplier"), wanted, within, relative=True),
            Near("KL", result["objective"], kl, within, relative=True),
        ]

    return Case(plain, judge)


def backpropagation(count: int, **dual: Any) -> Case:
    return alignment_case(0.05, aligned(count, "", "backpropagation", 600, 256, **dual))


def policy_gradient(count: int) -> Case:
    return alignment_case(0.10, aligned(count, "black_box_", "policy_gradient", 900, 512))


def reward_out_of_reach() -> Case:
    plain = aligned(2, "", "backpropagation", 600, 256, rule="ascent", step_size=0.5, cap=5.0, patience=10, every=2)
    plain["constraints"][0] |= {"name": "bounded", "reward": {"call": CALL("bounded")}, "at_least": 1.5}
    plain["constraints"][1] |= {"at_least": 0.1}
    return Case(plain, lambda result: [Ending(result, "infeasible", named=["bounded"], unnamed=["second"])])


# Composition.


def product(means: Sequence[Any], covariances: Sequence[Any], names: Sequence[str], model: str, **sections: Any) -> Case:
    """AND of Gaussians: the model is to be their product."""
    plain = document(
        "composition_and", model, [len(means[0])], [{"name": name, "kl": {"to": name}} for name in names],
        **{
            "models": {name: {"call": CALL(name)} for name in names},
            "dual": {"rule": "simplex", "step_size": 0.2, "every": 200, "decay": "linear"},
            "train": {
                "steps": 3000, "lr": 0.02, "lr_schedule": "wsd", "batch_size": 512, "loss_weight": "simple", "ema": 0.99,
            },
            "product": {"samples": 16_384, "levels": 25, "steps": 20, "snr": 0.3},
            **sections,
        },
    )  # fmt: skip
    wanted, kls = exact.composition_and(np.array(means), np.array(covariances))

    def judge(result: Mapping[str, Any]) -> list[Verdict]:
        return [
            Near("λ", column(result, "multiplier"), wanted, 0.03),
            Near("KLs", column(result, "value"), kls, 0.065, relative=True),
        ]

    return Case(plain, judge)


def product_on_a_line() -> Case:
    """The narrow one needs more of the sampler, and smaller dual steps."""
    means, covariances = zip(models.LEFT, models.RIGHT, strict=True)
    return product(
        means, covariances, ["left", "right"], "line",
        dual={"rule": "simplex", "step_size": 0.015, "every": 60, "decay": "linear"},
        product={"samples": 4096, "levels": 50, "steps": 20, "snr": 0.3},
    )  # fmt: skip


def product_in_the_plane(kind: str, count: int) -> Case:
    """Of the first of `SHIFTED`, equal covariances, or of `CORNERS`, unequal ones."""
    means, covariances = zip(*{"shifted": models.SHIFTED, "corner": models.CORNERS}[kind][:count], strict=True)
    return product(means, covariances, [f"{kind}_{number}" for number in range(count)], "free_plane")


def estimator(own: str, others: Sequence[str]) -> Case:
    """The point-wise KL of a known model, which is not trained, to others, on data that is its own."""
    constraints = [{"name": other, "closeness": {"to": other, "on": {"all": True}}, "at_most": 100.0} for other in others]
    mean, covariance = (np.array(each) for each in models.GAUSSIANS[own])
    plain = document(
        "constrained_fine_tuning", own, [len(mean)], constraints, models={other: {"call": CALL(other)} for other in others},
        data={"call": CALL(f"{own}_points")}, train={"steps": 1, "lr": 1e-12, "loss_weight": "elbo"},
        evaluation={"samples": 0, "loss_draws": 1_600_000, "batch_size": 40_000},
    )  # fmt: skip
    wanted = [exact.gaussian_kl(mean, covariance, *map(np.array, models.GAUSSIANS[other])) for other in others]
    return Case(plain, lambda result: [Near("KLs", column(result, "value"), wanted, 0.02, relative=True)])


def diverse_mixture() -> Case:
    """OR of three disjoint islands."""
    names = [f"island_{number}" for number in range(3)]
    plain = document(
        "composition_or", "islands", [2], [{"name": name, "samples": {"of": name, "count": 16_384}} for name in names],
        models={name: {"call": CALL(name)} for name in names},
        dual={"rule": "mirror", "step_size": 0.05, "every": 5, "average": 0.8, "decay": "linear"},
        train={"steps": 3000, "lr": 0.05, "lr_schedule": "wsd", "batch_size": 512, "loss_weight": "elbo", "ema": 0.99},
    )  # fmt: skip
    sizes = models.WIDTHS.double().numpy() ** 2
    return Case(plain, lambda result: [Near("λ", column(result, "multiplier"), sizes / sizes.sum(), 0.05)])


# Minority classes.


def minorities(budgets: Mapping[int, float], **dual: Any) -> Plain:
    """KL(class || model) at most each budget: the denoising loss at most that of the class's own exact model more."""
    plain = document(
        "constrained_training", "classes", [1],
        [{"name": f"class-{each}", "data": {"classes": [each]}, "at_most": 1.0} for each in budgets],
        data={"call": CALL("digits_like")},
        dual={"rule": "ascent", "step_size": 0.004, "every": 5, "average": 0.8, "decay": "linear", **dual},
        train={
            "steps": 3000, "lr": 0.03, "lr_schedule": "wsd", "batch_size": 2048, "loss_weight": "elbo", "ema": 0.99, "floor": 384,
        },
    )  # fmt: skip
    entropy = entropy_of_a_class(Recipe.model_validate(plain))
    for constraint, budget in zip(plain["constraints"], budgets.values(), strict=True):
        constraint["at_most"] = entropy + budget
    return plain


def entropy_of_a_class(recipe: Recipe) -> float:
    """The least denoising loss of one class in nats: that of its own exact model."""
    source, draws = torch.Generator().manual_seed(1), 400_000
    x, noise = models.WIDTH * torch.randn(draws, 1, generator=source), torch.randn(draws, 1, generator=source)
    alone = models.Mixture(torch.zeros(1, 1), torch.tensor([models.WIDTH]))
    t = torch.arange(draws) % models.T
    with torch.no_grad():
        noised = Noised(noise_schedule(recipe, (1,)), x, noise, t)
        return float(weighted_errors(noised.schedule, alone(noised.noisy, t), noised.target, t, "elbo").mean())


def minority_classes() -> Case:
    few = (4, 5, 7)
    shares, wanted = exact.minority(models.COUNTS, few, 2.5)

    def judge(result: Mapping[str, Any]) -> list[Verdict]:
        model, *_ = restore(str(result["checkpoint"]))
        weights = dict(model.inner.named_parameters())["logits"].softmax(0).detach().double().numpy()
        return [
            Near("class weights", weights[list(few)], shares[list(few)], 0.16, relative=True),
            Near("λ", column(result, "multiplier"), wanted, 0.20, relative=True),
        ]

    return Case(minorities(dict.fromkeys(few, 2.5)), judge)


def class_out_of_reach() -> Case:
    """No model's loss is below the class's own entropy."""
    plain = minorities({4: -0.5, 5: 3.0}, step_size=0.2, cap=5.0, patience=10, decay="none")
    return Case(plain, lambda result: [Ending(result, "infeasible", named=["class-4"], unnamed=["class-5"])])


CASES: dict[str, Callable[[], Case]] = {
    **{f"alignment, m = {m}": partial(backpropagation, m) for m in (1, 2, 3)},
    **{f"alignment by policy gradient, m = {m}": partial(policy_gradient, m) for m in (1, 2, 3)},
    "alignment, resilient": partial(backpropagation, 2, alpha=2.0),
    "AND on the line, unequal covariances, m = 2": product_on_a_line,
    **{f"AND in the plane, equal covariances, m = {m}": partial(product_in_the_plane, "shifted", m) for m in (2, 3)},
    **{f"AND in the plane, unequal covariances, m = {m}": partial(product_in_the_plane, "corner", m) for m in (2, 3)},
    "OR of disjoint components, m = 3": diverse_mixture,
    "minority classes": minority_classes,
    "point-wise KL on the line": partial(estimator, "narrow", ["left", "right"]),
    "point-wise KL in the plane": partial(estimator, "plane", ["tilted"]),
    "infeasible reward": reward_out_of_reach,
    "infeasible class": class_out_of_reach,
}
