"""Models that are composed of others: what they predict, and dual steps alone on tiny conditional models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dualsweep.trainer.engine.sample_command import generate, restore
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.build import build_model
from dualsweep.trainer.models.loading import Library
from dualsweep.trainer.recipe.model import Model
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.sources.build import sampling_of
from tests.trainer.engine.test_loop import Interrupted, run, without_time
from tests.trainer.models.test_build import prediction, train

UNETS = {"a": {"unet": {"channels": [8]}}, "b": {"unet": {"channels": [16]}}, "any": {"unet": {"channels": [8, 8]}}}


def recipe(model: dict[str, Any], models: dict[str, Any], **sections: Any) -> Recipe:
    concept = "guidance" in model["compose"]
    plain = {
        "name": "composed", "formulation": "concept_composition" if concept else "composition_and", "model": model,
        "models": models, "dual": {"rule": "simplex", "step_size": 0.01},
        "constraints": [{"name": f"to-{name}", "path_kl" if concept else "kl": {"to": name}} for name in model["compose"]["of"]],
        "train": {"steps": 4, "batch_size": 8, "log_every": 2}, "rollout": {"steps": 3, "batch_size": 4},
        "product": {"samples": 8, "levels": 3, "steps": 2},
        "evaluation": {"samples": 6, "sample_steps": 3, "loss_draws": 8, "batch_size": 4, "grid": 4}, "checkpoint": {"every": 2},
    }  # fmt: skip
    return Recipe.model_validate({**plain, **sections})


def runs_and_samples(spec: Recipe, folder: Path, shape: tuple[int, ...]) -> dict[str, float]:
    """The weights that a run came to, having checked what else it left."""
    result = train(spec, folder)
    weights: dict[str, float] = json.loads((Path(str(result.checkpoint)) / "composition.json").read_text())
    assert list(weights.values()) == pytest.approx([each.multiplier for each in result.constraints.values()])
    assert sum(weights.values()) == pytest.approx(1.0) and min(weights.values()) >= 0
    assert all(np.isfinite(each.value) for each in result.constraints.values())
    evaluated = np.load(folder / "samples.npy")
    made = generate(str(result.checkpoint), 6, folder / "made", sampler=None, steps=None, seed=0, batch_size=2)
    assert made.shape == (6, *shape) and (folder / "made" / "00005.png").is_file()
    np.testing.assert_allclose(made.numpy(), evaluated, atol=2e-5)  # the same sampler, whatever the batch
    return weights


@pytest.mark.parametrize(
    "model", [{"compose": {"of": ["a", "b"]}}, {"compose": {"of": ["a", "b"], "guidance": 2.0, "base": "any"}}]
)
def test_interrupted_and_continued_is_bit_for_bit_the_uninterrupted_run(model: dict[str, Any], tmp_path: Path) -> None:
    spec = recipe({**model, "shape": [1, 8, 8]}, UNETS, train={"steps": 8, "batch_size": 8, "log_every": 2})
    whole, whole_points, *_ = run(spec, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(spec, tmp_path / "parts", 5)
    resumed, points, states, _ = run(spec, tmp_path / "parts")
    assert min(states) > 1 and states[8].multipliers.tolist() != [0.5, 0.5]
    for step, metrics in points.items():
        assert without_time(metrics) == without_time(whole_points[step])
    assert without_time(resumed.metrics) == without_time(whole.metrics)


def test_a_run_is_loaded_as_any_other_model(tmp_path: Path) -> None:
    spec = recipe({"compose": {"of": ["a", "b"]}, "shape": [1, 8, 8]}, UNETS)
    weights = runs_and_samples(spec, tmp_path / "first", (1, 8, 8))
    loaded = build_model(Model(load=str(tmp_path / "first")), (1, 8, 8), 5, Library())
    parts = {name: build_model(spec.models[name], (1, 8, 8), spec.seed, Library()) for name in weights}
    wanted = sum(weight * prediction(parts[name], (1, 8, 8)) for name, weight in weights.items())
    torch.testing.assert_close(prediction(loaded, (1, 8, 8)), wanted)
    again = recipe(
        {"compose": {"of": ["a", "both"]}, "shape": [1, 8, 8]},
        {"a": {**UNETS["a"]}, "both": {"load": str(tmp_path / "first")}}, schedule={"timesteps": 200},
    )  # fmt: skip
    assert (sampling_of(again, "both").sampler, sampling_of(again, "a").sampler) == ("langevin", "dpmpp_2m")
    runs_and_samples(again, tmp_path / "second", (1, 8, 8))
    with pytest.raises(TrainingError, match="`prompt` must go with one network"):
        build_model(Model(load=str(tmp_path / "first"), prompt="a pear"), (1, 8, 8), 0, Library())


def test_concepts_of_a_text_to_image_pipeline(tmp_path: Path, text_to_image: str) -> None:
    models = {word: {"load": text_to_image, "prompt": f"a {word}"} for word in ("apple", "pear")}
    weights = runs_and_samples(recipe({"compose": {"of": ["apple", "pear"], "guidance": 3.0}}, models), tmp_path / "a", (1, 8, 8))
    composed, _, _, shape, *_ = restore(str(tmp_path / "a" / "checkpoints" / "step-00000004"))
    x, t = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 30])
    with torch.no_grad():
        alone = {name: build_model(Model.model_validate(each), shape, 0, Library()).eval() for name, each in models.items()}
        without = build_model(Model(load=text_to_image, prompt=""), shape, 0, Library()).eval()(x, t)
        wanted = without + 3.0 * sum(weights[name] * (each(x, t) - without) for name, each in alone.items())
        torch.testing.assert_close(composed.guided(x, t), wanted, rtol=1e-4, atol=1e-5)
    anything = {**models, "nothing": {"load": text_to_image, "prompt": ""}}
    based = recipe({"compose": {"of": ["apple", "pear"], "guidance": 3.0, "base": "nothing"}}, anything)
    assert runs_and_samples(based, tmp_path / "b", (1, 8, 8)) == pytest.approx(weights, abs=1e-4)


def test_concepts_of_a_class_conditional_transformer(tmp_path: Path, transformer: str) -> None:
    models = {f"class-{label}": {"load": transformer, "label": label} for label in range(3)}
    spec = recipe({"compose": {"of": list(models), "guidance": 2.0}}, models, schedule={"timesteps": 50})
    runs_and_samples(spec, tmp_path / "a", (1, 8, 8))


def test_adapters_of_one_base(tmp_path: Path, text_to_image: str) -> None:
    apple = {"load": text_to_image, "prompt": "a red apple"}
    for seed, name in enumerate(("first", "second")):
        adapted = {
            "name": name, "formulation": "alignment", "seed": seed, "model": {**apple, "lora": {"rank": 2}},
            "constraints": [{"name": "bright", "reward": "brightness", "at_least": 0.5}],
            "train": {"steps": 2, "lr": 1e-2}, "rollout": {"steps": 2, "batch_size": 4, "normalization_samples": 16},
            "evaluation": {"samples": 0, "loss_draws": 4},
        }  # fmt: skip
        train(Recipe.model_validate(adapted), tmp_path / name)
    models = {name: {**apple, "lora": str(tmp_path / name)} for name in ("first", "second")}
    runs_and_samples(recipe({"compose": {"of": list(models)}}, {**models}), tmp_path / "both", (1, 8, 8))


def test_what_can_only_be_told_at_the_start_is_told_there(tmp_path: Path) -> None:
    train(recipe({"compose": {"of": ["a", "b"]}, "shape": [1, 8, 8]}, UNETS), tmp_path / "first")
    models = {name: {"load": str(tmp_path / "first")} for name in ("x", "y")}
    with pytest.raises(TrainingError, match=r"compose\.base must be given"):
        train(recipe({"compose": {"of": ["x", "y"], "guidance": 2.0}}, models), tmp_path / "second")
