"""Keys that a recipe is said to ignore: a training with other values of them is the same training, call by call of a network."""

from __future__ import annotations

from contextlib import suppress
from functools import reduce
from operator import attrgetter, getitem
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from dualsweep.trainer.checks.unused_keys import is_unused, unused_keys
from dualsweep.trainer.recipe.recipe import Recipe
from tests.trainer.amortised.test_training import amortised
from tests.trainer.engine.test_loop import ROLLOUTS, aligned, run, without_time
from tests.trainer.models.test_composed import UNETS
from tests.trainer.models.test_composed import recipe as composed
from tests.trainer.recipes import digits

FEW = {"steps": 4, "batch_size": 12, "log_every": 1}
UNSAMPLED = {"samples": 0, "loss_draws": 16, "sample_steps": 3}
NEAR = [{"name": "near", "closeness": {"to": "other", "samples": 8}, "at_most": 0.1}]
OTHER_MODEL = {"other": {"unet": {"channels": [8]}}}


def judge() -> Any:
    """Of one's own: two classes by brightness, and the mean of an image."""

    class Judge:
        def features(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)[:, :2]

        def probabilities(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.one_hot(torch.arange(len(x)) % 10, 10).float()

    return Judge()


def short(**sections: Any) -> Recipe:
    return digits(**{"train": FEW, "evaluation": UNSAMPLED, **sections})


def rolled(gradient: str, **rollout: Any) -> Recipe:
    plain = aligned(gradient, **{**ROLLOUTS.get(gradient, {}), **rollout}).model_dump(mode="json")
    return Recipe.model_validate(plain | {"train": plain["train"] | {"steps": 4}})


#: Recipes that differ in what they ignore.
RECIPES: dict[str, Recipe] = {
    "mixture": short(),
    "separate": short(train=FEW | {"batches": "separate", "constraint_batch": 4}),
    "wsd": short(train=FEW | {"lr_schedule": "wsd", "optimizer": {"call": "torch.optim:SGD"}}),
    "no constraints": short(constraints=[]),
    "fixed": short(dual={"rule": "fixed", "start": 0.3}),
    "secant": short(dual={"rule": "secant", "step_size": 0.1}),
    "samples of another model": short(constraints=NEAR, models=OTHER_MODEL, monitor={"every": 2, "samples": 2, "bands": 0}),
    "sampled along trajectories": short(evaluation=UNSAMPLED | {"samples": 4, "sampler": "rollout", "metrics": []}),
    "judge of one's own": short(
        evaluation=UNSAMPLED | {"samples": 20, "judge": {"call": "tests.trainer.checks.test_unused_keys:judge"}}
    ),
    "amortised": amortised(train=FEW, evaluation=UNSAMPLED),
    "composed": composed({"compose": {"of": ["a", "b"]}, "shape": [1, 8, 8]}, UNETS),
    **{gradient: rolled(gradient) for gradient in ROLLOUTS},
    "beside data": Recipe.model_validate(
        rolled("backpropagation").model_dump(mode="json") | {"data": {"source": "digits"}, "evaluation": UNSAMPLED}
    ),
    "not truncated": rolled("backpropagation", truncation={"kind": "none"}),
    "not normalised": rolled("policy_gradient", normalize=False),
}  # fmt: skip
#: Another value for the keys that some recipe ignores; those of `data` that go with other sources are refused beside one.
OTHERS: dict[str, Any] = {
    "data.random_flip": True, "data.random_crop": 1,
    "product.samples": 5, "product.levels": 2, "product.steps": 1, "product.snr": 0.4,
    "rollout.steps": 5, "rollout.batch_size": 7, "rollout.eta": 0.5, "rollout.gradient": "policy_gradient",
    "rollout.flow": {"width": 4, "lr": 0.01, "look_ahead": "constant", "trace": 0.1}, "rollout.updates": 3,
    "rollout.truncation": {"kind": "gaussian", "steps": 2, "spread": 3.0}, "rollout.truncation.steps": 2,
    "rollout.truncation.spread": 3.0, "rollout.activation_checkpointing": True, "rollout.clip_range": 0.0001,
    "rollout.normalize": False, "rollout.normalization_samples": 24,
    "dual.rule": "secant", "dual.step_size": 0.7, "dual.alpha": 1.5, "dual.trust": 0.01, "dual.gain_warmup": 3,
    "dual.decay": "linear", "dual.start": 0.4, "dual.every": 2, "dual.warmup": 3, "dual.cap": 0.5, "dual.average": 0.5,
    "dual.staleness": 0, "dual.patience": 1, "dual.nu": 0.3, "dual.kappa_p": 4.0,
    "feasibility.confidence": 0.6, "feasibility.tolerance": 0.3, "feasibility.draws": 5000,
    "train.weight_decay": 0.3, "train.lr_cooldown": 0.9, "train.batches": "separate", "train.floor": 3,
    "train.constraint_batch": 5, "train.offset_noise": 0.3, "train.batch_size": 17, "train.loss_weight": "min_snr",
    "evaluation.sampler": "ddpm", "evaluation.sample_steps": 2, "evaluation.metrics": [], "evaluation.grid": 2,
    "monitor.draws": 64, "evaluation.judge.epochs": 3, "evaluation.judge.features": 9,
}  # fmt: skip
#: Of these, what every recipe uses: `check` once said otherwise of some.
USED = {"dual.every", "evaluation.sampler", "evaluation.sample_steps"}


def others(recipe: Recipe) -> tuple[Recipe, set[str]]:
    """The recipe with another value for each key that it ignores, and these keys; a value that is refused is no such."""
    unused, changed = unused_keys(recipe), set[str]()
    for key in (each for each in OTHERS if is_unused(each, unused)):
        plain = recipe.model_dump(mode="json")
        above, _, last = key.rpartition(".")
        place = attrgetter(above)(recipe)
        if place is not None and getattr(place, last) != OTHERS[key]:
            reduce(getitem, above.split("."), plain)[last] = OTHERS[key]
            with suppress(ValidationError):
                recipe = Recipe.model_validate(plain)
                changed.add(key)
    return recipe, changed


def trained(recipe: Recipe, folder: Path) -> tuple[tuple[int, str], list[Any]]:
    """How often parts of networks were asked and how a training ended, what it told and the weights that it left."""
    calls = 0

    def counted(*_: Any) -> None:
        nonlocal calls
        calls += 1

    handle = torch.nn.modules.module.register_module_forward_pre_hook(counted)
    try:
        result, points, *_, end = run(recipe, folder)
    finally:
        handle.remove()
    told = {step: without_time(each) for step, each in points.items()}
    return (calls, result.status), [without_time(result.metrics), told, end.groups.get("weights", {})]


@pytest.mark.parametrize("name", RECIPES)
def test_what_is_called_unused_changes_nothing(name: str, tmp_path: Path) -> None:
    other, changed = others(RECIPES[name])
    assert changed
    before, after = (trained(each, tmp_path / str(number) / "run") for number, each in enumerate((RECIPES[name], other)))
    assert after[0] == before[0]
    torch.testing.assert_close(after[1], before[1], rtol=0, atol=0, equal_nan=True)


def test_each_key_is_tried() -> None:
    tried = set[str]().union(*(others(each)[1] for each in RECIPES.values()))
    assert tried == set(OTHERS) - USED


@pytest.mark.parametrize(("name", "keys"), [
    ("backpropagation", {"train.batch_size", "train.loss_weight"}),
    ("composed", {"dual.cap", "dual.patience", "feasibility.confidence", "feasibility.draws", "feasibility.tolerance"}),
    ("no constraints", {"train.floor", "train.batches", "train.constraint_batch", "evaluation.judge.epochs"}),
    ("beside data", {"train.floor", "train.constraint_batch"}),
    ("samples of another model", {"monitor.draws"}),
    ("fixed", {"dual.patience", "dual.average"}),
])  # fmt: skip
def test_what_changes_nothing_is_called_unused(name: str, keys: set[str]) -> None:
    unused = unused_keys(RECIPES[name])
    assert [key for key in keys if not is_unused(key, unused)] == []
