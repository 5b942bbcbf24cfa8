"""The cases of method.md §4 through the whole trainer: multipliers and KLs against their exact values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.known import exact, models
from trainer.checkpoint import CheckpointFolder
from trainer.coordinator import InProcess
from trainer.dual.controller import controller_of
from trainer.generate import restore
from trainer.host import LocalHost
from trainer.losses import denoising_losses
from trainer.models.schedules import noise_schedule
from trainer.outcome import Result
from trainer.recipe import Recipe
from trainer.samplers.rollout import steps_of
from trainer.work import work

CALL = "tests.known.models:{}".format


def recipe(formulation: str, model: str, shape: list[int], constraints: list[dict[str, Any]], **sections: Any) -> Recipe:
    base: dict[str, Any] = {
        "name": "known", "formulation": formulation, "model": {"call": CALL(model), "shape": shape},
        "schedule": {"timesteps": models.T}, "constraints": constraints,
        "evaluation": {"samples": 0, "loss_draws": 20_000, "batch_size": 5000}, "checkpoint": {"every": 10**6},
    }  # fmt: skip
    return Recipe.model_validate({**base, **sections})


def train(spec: Recipe, folder: Path) -> Result:
    torch.set_num_threads(1)
    host = LocalHost(InProcess(controller_of(spec)), CheckpointFolder(str(folder / "checkpoints")))
    result = work(spec, host, str(folder))
    assert result is not None
    return result


def multipliers(result: Result) -> np.ndarray:
    return np.array([each.multiplier for each in result.constraints.values()])


def aligned(rewards: list[str], thresholds: list[float], gradient: str, steps: int, **dual: Any) -> Recipe:
    constraints = [
        {"name": name.replace("_", "-"), "reward": {"call": CALL(name)}, "at_least": threshold}
        for name, threshold in zip(rewards, thresholds, strict=True)
    ]
    return recipe(
        "alignment", "plane", [2], constraints,
        dual={"rule": "newton", "step_size": 0.3, "every": 10, "staleness": 0, **dual},
        train={"steps": steps, "lr": 0.02, "lr_schedule": "wsd", "clip": None, "ema": 0.99},
        rollout={
            "steps": 10, "batch_size": 256 if gradient == "backpropagation" else 512, "gradient": gradient, "normalize": False,
        },
    )  # fmt: skip


def exact_alignment(spec: Recipe, matrix: list[list[float]], alpha: float = np.inf) -> tuple[np.ndarray, float]:
    steps = steps_of(noise_schedule(spec, (2,)), spec.rollout.steps, spec.rollout.eta)
    moments = exact.sampler_moments(models.Gaussian(*models.PLANE), steps)
    wanted = np.array([float(each.budget or 0.0) for each in spec.constraints])
    return exact.alignment(*moments, np.array(matrix), wanted, alpha)


CASES = {
    "one": (["first"], [0.8], [[1.0, 0.0]]),
    "two": (["first", "second"], [0.8, 0.6], [[1.0, 0.0], [0.0, 1.0]]),
    "three": (["first", "second", "both"], [0.8, 0.6, 1.0], [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
}


@pytest.mark.parametrize("case", CASES)
def test_gaussian_alignment_by_backpropagation(case: str, tmp_path: Path) -> None:
    rewards, thresholds, matrix = CASES[case]
    spec = aligned(rewards, thresholds, "backpropagation", 600)
    wanted, kl = exact_alignment(spec, matrix)
    result = train(spec, tmp_path)
    np.testing.assert_allclose(multipliers(result), wanted, atol=0.05 * wanted.max())
    assert result.objective == pytest.approx(kl, rel=0.05)
    assert (wanted[2:] == 0).all(), "the third reward does not bind"


@pytest.mark.parametrize("case", ["one", "two"])
def test_gaussian_alignment_by_policy_gradient_on_black_boxes(case: str, tmp_path: Path) -> None:
    rewards, thresholds, matrix = CASES[case]
    spec = aligned([f"black_box_{each}" for each in rewards], thresholds, "policy_gradient", 900)
    wanted, kl = exact_alignment(spec, matrix)
    result = train(spec, tmp_path)
    np.testing.assert_allclose(multipliers(result), wanted, atol=0.10 * wanted.max())
    assert result.objective == pytest.approx(kl, rel=0.10)


def test_a_resilient_budget_relaxes_as_its_closed_form_says(tmp_path: Path) -> None:
    rewards, thresholds, matrix = CASES["two"]
    spec = aligned(rewards, thresholds, "backpropagation", 600, alpha=2.0)
    wanted, kl = exact_alignment(spec, matrix, alpha=2.0)
    result = train(spec, tmp_path)
    np.testing.assert_allclose(multipliers(result), wanted, rtol=0.05)
    assert result.objective == pytest.approx(kl, rel=0.05)


def test_a_reward_out_of_reach_ends_as_infeasible_and_is_named(tmp_path: Path) -> None:
    spec = aligned(
        ["bounded", "second"], [1.5, 0.1], "backpropagation", 600, rule="ascent", step_size=0.5, cap=5.0, patience=10, every=2
    )
    result = train(spec, tmp_path)
    assert result.status == "infeasible" and "`bounded`" in result.reason and "`second`" not in result.reason


def test_the_product_of_gaussians_has_equal_divergences(tmp_path: Path) -> None:
    constraints = [{"name": name, "kl": {"to": name}} for name in ("left", "right")]
    spec = recipe(
        "composition_and", "line", [1], constraints, models={name: {"call": CALL(name)} for name in ("left", "right")},
        dual={"rule": "simplex", "step_size": 0.01, "every": 20, "decay": "linear"},
        train={"steps": 3000, "lr": 0.02, "lr_schedule": "wsd", "batch_size": 512, "loss_weight": "simple", "ema": 0.99},
        product={"samples": 2048, "levels": 50, "steps": 20, "snr": 0.3},
    )  # fmt: skip
    means, covariances = (np.array([each[part] for each in (models.LEFT, models.RIGHT)]) for part in (0, 1))
    wanted, kls = exact.composition_and(means, covariances)
    result = train(spec, tmp_path)
    found = np.array([each.value for each in result.constraints.values()])
    print(multipliers(result), wanted, found, kls)
    np.testing.assert_allclose(multipliers(result), wanted, atol=0.03)
    np.testing.assert_allclose(found, kls, rtol=0.05)


def test_the_most_diverse_mixture_weighs_components_by_their_size(tmp_path: Path) -> None:
    names = [f"island_{number}" for number in range(3)]
    constraints = [{"name": name, "samples": {"of": name, "count": 4096}} for name in names]
    spec = recipe(
        "composition_or", "islands", [2], constraints, models={name: {"call": CALL(name)} for name in names},
        dual={"rule": "mirror", "step_size": 0.05, "every": 5, "average": 0.8, "decay": "linear"},
        train={"steps": 3000, "lr": 0.05, "lr_schedule": "wsd", "batch_size": 512, "loss_weight": "elbo", "ema": 0.99},
    )  # fmt: skip
    sizes = models.WIDTHS.numpy() ** 2
    result = train(spec, tmp_path)
    print(multipliers(result), sizes / sizes.sum())
    np.testing.assert_allclose(multipliers(result), sizes / sizes.sum(), atol=0.03)


def entropy_of_a_class(spec: Recipe) -> float:
    """The least denoising loss of one class in nats: that of its own exact model."""
    source, draws = torch.Generator().manual_seed(1), 400_000
    x, noise = models.WIDTH * torch.randn(draws, 1, generator=source), torch.randn(draws, 1, generator=source)
    alone = models.Mixture(torch.zeros(1, 1), torch.tensor([models.WIDTH]))
    t = torch.arange(draws) % models.T
    with torch.no_grad():
        return float(denoising_losses(alone, noise_schedule(spec, (1,)), x, noise, t, "elbo").mean())


def test_minority_classes_have_the_weights_that_their_budgets_ask_for(tmp_path: Path) -> None:
    minorities = (4, 5, 7)
    shares, wanted = exact.minority(models.COUNTS, minorities, 2.5)
    constraints = [{"name": f"class-{each}", "data": {"classes": [each]}, "at_most": 1.0} for each in minorities]
    spec = recipe(
        "constrained_training", "classes", [1], constraints, data={"call": CALL("digits_like")},
        dual={"rule": "ascent", "step_size": 0.004, "every": 5, "average": 0.8, "decay": "linear"},
        train={
            "steps": 3000, "lr": 0.03, "lr_schedule": "wsd", "batch_size": 1024, "loss_weight": "elbo", "ema": 0.99, "floor": 192,
        },
    )  # fmt: skip
    budget = entropy_of_a_class(spec) + 2.5
    plain = spec.model_dump(mode="json")
    for each in plain["constraints"]:
        each["at_most"] = budget
    spec = Recipe.model_validate(plain)
    result = train(spec, tmp_path)
    model, *_ = restore(str(result.checkpoint))
    found = dict(model.inner.named_parameters())["logits"].softmax(0).detach().numpy()
    print(budget, multipliers(result), wanted, found, shares)
    np.testing.assert_allclose(found[list(minorities)], shares[list(minorities)], rtol=0.10)
    np.testing.assert_allclose(multipliers(result), wanted, rtol=0.2)
