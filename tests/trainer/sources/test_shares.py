"""Shares of whole models, of text and of classes: the samples that are meant, on any number of workers, and the gradient."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.engine.assembly import prepare
from dualsweep.trainer.evaluation.draws_file import received, sent
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.rng import Stream, in_turn
from dualsweep.trainer.samplers.rollout import roll_out
from dualsweep.trainer.sources.rollout import RolloutSource
from tests.trainer.models.test_build import aligned, host_in, train

TEXTS = ["a red apple", "a blue pear", "a pear"]
HERE = "tests.trainer.sources.test_shares:{}".format


class Light(nn.Module):
    """Logits of dark and light images."""

    def forward(self, x: Tensor) -> Tensor:
        light = 2.0 * x.flatten(1).mean(1)
        return torch.stack([-light, light], dim=1)


def shades() -> tuple[Tensor, list[str]]:
    level = torch.linspace(-1, 1, 40).view(-1, 1, 1, 1)
    return level.expand(40, 1, 8, 8).contiguous(), ["dark"] * 20 + ["light"] * 20


class ByClass(nn.Module):
    """Predicts a noise that its class shifts."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 1)

    def forward(self, x: Tensor, t: Tensor, class_labels: Tensor) -> Tensor:
        shift: Tensor = self.table(class_labels)[:, :, None, None]
        return 0.5 * x + shift + 0.0 * t.view(-1, 1, 1, 1)


def shared(model: dict[str, Any], **sections: Any) -> Recipe:
    judge = {"judge": HERE("Light"), "calibration": HERE("shades")}
    some = "*pear" if "load" in model else 4
    constraints = [
        {"name": "some", "share": {"of": "light", "among": [some], **judge}, "at_least": 0.5},
        {"name": "all", "share": {"of": "light", **judge}, "at_least": 0.5},
        {"name": "dark", "share": {"of": "dark", **judge}, "at_most": 0.5},
    ]
    evaluation = {"samples": 0, "loss_draws": 30, "batch_size": 7}
    return aligned(model, **{"constraints": constraints, "evaluation": evaluation, "feasibility": {"draws": 1}, **sections})


def source_of(recipe: Recipe, folder: Path, rank: int = 0, world: int = 1) -> RolloutSource:
    (source,) = prepare(recipe, replace(host_in(recipe, folder), rank=rank, world=world)).sources
    assert isinstance(source, RolloutSource)
    return source


@pytest.fixture(params=["text", "classes"])
def recipe(request: pytest.FixtureRequest, text_to_image: str) -> Recipe:
    if request.param == "text":
        return shared({"load": text_to_image, "prompts": TEXTS, "guidance": 2.0})
    by_class = {"call": HERE("ByClass"), "condition": "labels"}
    return shared(by_class, data={"source": "digits"}, schedule={"timesteps": 50})


def test_a_share_is_that_of_the_samples_that_are_meant(recipe: Recipe, tmp_path: Path) -> None:
    source = source_of(recipe, tmp_path)
    [draws] = source.measure(np.ones(4), False, range(30))
    noise, which = source.noise(Stream.EVALUATION, 0, range(30)), in_turn(source.prompts, range(30))
    with torch.no_grad():
        images = source.setting.space.decode(roll_out(source.forward, source.steps, noise, which).samples)
    light = (4.0 * images.flatten(1).mean(1)).sigmoid().double().numpy()
    x, words = shades()
    seen = (4.0 * x.flatten(1).mean(1)).sigmoid().double().numpy()
    is_light = np.array([word == "light" for word in words])
    wrong = seen[~is_light].mean()
    exact = (light - wrong) / (seen[is_light].mean() - wrong)
    assert which is not None
    meant = which.numpy() > 0 if source.prompts == 3 else which.numpy() == 4
    shares = draws.values[:, list(draws.columns).index(1) :].mean(0)
    assert shares == pytest.approx([exact[meant].mean(), exact.mean(), 1 - exact.mean()], abs=1e-5)
    assert draws.beside is not None
    assert draws.beside.mean(0) == pytest.approx([1 - shares[0], shares[0], shares[2], shares[1]], abs=1e-5)


@pytest.mark.parametrize("draws", [6, 31])
def test_a_share_of_draws_that_are_no_whole_turns_is_that_of_those_that_are_meant(
    recipe: Recipe, tmp_path: Path, draws: int
) -> None:
    """Of 3 texts or 10 classes, which the share among some is multiplied up from; each that is drawn counts alike."""
    source = source_of(recipe, tmp_path)
    [joint] = source.measure(np.ones(4), False, range(draws))
    some, everything = (list(joint.columns).index(column) for column in (1, 2))
    assert joint.groups is not None and joint.factors is not None
    every, meant = joint.values[:, everything], joint.factors[:, some] > 0
    assert (joint.factors[:, everything] == 1).all() and meant.any()
    by_prompt = {which: every[joint.groups == which].mean() for which in np.unique(joint.groups)}
    among = [by_prompt[which] for which in np.unique(joint.groups[meant])]
    assert joint.mean[some] == pytest.approx(np.mean(among), abs=1e-5)
    assert joint.mean[everything] == pytest.approx(np.mean(list(by_prompt.values())), abs=1e-5)


def test_the_draws_are_those_of_any_number_of_workers(recipe: Recipe, tmp_path: Path) -> None:
    [whole] = source_of(recipe, tmp_path).measure(np.ones(4), False, range(30))
    parts = [source_of(recipe, tmp_path, rank, 2).measure(np.ones(4), False, range(30)) for rank in range(2)]
    first, second = (one for part in parts for one in received(sent(part)))
    joined = first.joined(second)
    assert joined.beside is not None and whole.beside is not None
    assert np.abs(joined.beside - whole.beside).max() < 1e-5
    assert np.abs(joined.values - whole.values).max() < 1e-4


def test_it_is_trained_on_and_judged(recipe: Recipe, tmp_path: Path) -> None:
    result = train(recipe, tmp_path)
    some, everything, dark = result.constraints.values()
    assert everything.value + dark.value == pytest.approx(1.0, abs=1e-4)
    assert everything.slack_error == pytest.approx(dark.slack_error, rel=1e-3)
    assert 0 < result.metrics["judge_error/all"] < everything.slack_error < some.slack_error
    gradients = source_of(recipe, tmp_path)
    gradients.begin_step(0, np.array([0.0, 1.0, 0.0, 0.0])).loss(0).backward()
    assert gradients.unread() is not None


def test_prompts_that_no_draw_of_a_final_value_has_are_refused_before_training(tmp_path: Path, text_to_image: str) -> None:
    few = shared({"load": text_to_image, "prompts": TEXTS}, evaluation={"samples": 0, "loss_draws": 1})
    with pytest.raises(BadDataError, match=r"must fit .* none among those of 1 draws, of 3 .*; raise evaluation.loss_draws to 2"):
        train(few, tmp_path)


def test_prompts_that_a_later_look_reaches_are_drawn_for(tmp_path: Path, text_to_image: str) -> None:
    """Among the second and third prompt, of one draw at the first look and two at the second: a value, then its error."""
    model = {"load": text_to_image, "prompts": TEXTS}
    result = train(shared(model, evaluation={"samples": 0, "loss_draws": 1}, feasibility={"draws": 6}), tmp_path)
    assert result.status != "diverged"
    assert np.isfinite(result.constraints["some"].slack_error)


def test_a_share_has_a_value_though_another_constraint_is_decided_before_its_prompt_is_drawn(
    tmp_path: Path, text_to_image: str
) -> None:
    model = {"load": text_to_image, "prompts": TEXTS}
    some, *_ = shared(model).model_dump(mode="json", exclude_unset=True)["constraints"]
    some["share"]["among"] = ["a pear"]
    bright = {"name": "bright", "reward": {"call": "tests.trainer.models.test_build:brightness"}, "at_least": 1e9}
    looks: dict[str, Any] = {"evaluation": {"samples": 0, "loss_draws": 2}, "feasibility": {"draws": 8}}
    result = train(shared(model, constraints=[some, bright], **looks), tmp_path)
    assert result.constraints["bright"].standing == "violated"
    assert np.isfinite(result.constraints["some"].value)
    assert result.status != "diverged"
