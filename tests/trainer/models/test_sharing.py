"""Weights that nothing trains are in memory once, and predictions are what they are without sharing."""

from __future__ import annotations

import contextlib
import gc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import CLIPTextModel

from dualsweep.trainer.engine.assembly import Prepared, prepare
from dualsweep.trainer.models import adapters
from dualsweep.trainer.models.loading import Library
from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.recipe.model import Model
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.terms.context import TermContext
from tests.trainer.models.test_build import LORA, aligned, host_in, prediction, prepared, train

SHAPE = (2, 4, 4)


def frozen_of(prepared: Prepared) -> TermContext:
    source = prepared.sources[0]
    return source.setting  # type: ignore[attr-defined,no-any-return]  # the source of products keeps it


def composed(models: dict[str, dict[str, Any]], model: dict[str, Any]) -> Recipe:
    return Recipe.model_validate({
        "name": "composed", "formulation": "composition_and", "model": model, "models": models,
        "constraints": [{"name": name, "kl": {"to": name}} for name in models], "dual": {"rule": "mirror"},
        "train": {"steps": 2, "batch_size": 4}, "product": {"samples": 4, "levels": 2, "steps": 1},
        "evaluation": {"samples": 0, "loss_draws": 4},
    })  # fmt: skip


def weights(network: nn.Module) -> dict[str, int]:
    """Where each tensor lies, by its name without what adapters add to it."""
    return {name.replace(".base_layer", ""): each.data_ptr() for name, each in network.named_parameters() if "lora" not in name}


def test_models_that_differ_in_their_prompts_are_one_network(tmp_path: Path, text_to_image: str) -> None:
    specs: dict[str, dict[str, Any]] = {name: {"load": text_to_image, "prompt": name} for name in ("apple", "pear")}
    specs["strong"] = {"load": text_to_image, "prompt": "pear", "guidance": 3.0}
    before = sum(type(each) is CLIPTextModel for each in gc.get_objects())
    first = prepared(composed(specs, {"load": text_to_image, "prompt": "red"}), tmp_path)
    gc.collect()
    assert sum(type(each) is CLIPTextModel for each in gc.get_objects()) == before  # dropped once prompts are embedded
    frozen = frozen_of(first).frozen
    assert frozen["apple"].inner is frozen["pear"].inner is frozen["strong"].inner
    assert frozen["strong"].guidance == 3.0 and frozen["pear"].guidance == 1.0
    trained = first.primal.predictor.inner
    assert not set(weights(trained).values()) & set(weights(frozen["apple"].inner).values())
    assert all(each.requires_grad for each in trained.parameters())
    for name, spec in specs.items():
        alone = Library().predictor(Model.model_validate(spec))
        assert torch.equal(prediction(frozen[name], SHAPE), prediction(alone, SHAPE))


def stored_adapter(spec: Model, folder: Path) -> None:
    """One with random weights, as diffusers keeps it."""
    network = Library().predictor(spec).inner
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    folder.mkdir()
    for name, content in adapters.files(network).items():
        (folder / name).write_bytes(content)


def test_adapters_on_one_base_share_its_weights(tmp_path: Path, text_to_image: str) -> None:
    plain = {"load": text_to_image, "prompt": "a pear"}
    train(aligned(plain | {"lora": LORA}, evaluation={"samples": 0, "loss_draws": 4}), tmp_path / "a")
    stored_adapter(Model.model_validate(plain | {"lora": LORA}), tmp_path / "b")
    specs: dict[str, dict[str, Any]] = {
        "plain": plain,
        "a": {"load": str(tmp_path / "a")},
        "b": plain | {"lora": str(tmp_path / "b")},
    }
    first = prepared(composed(specs, plain | {"lora": LORA}), tmp_path)
    frozen, trained = frozen_of(first).frozen, first.primal.predictor
    places = weights(frozen["plain"].inner)
    assert weights(frozen["a"].inner) == weights(frozen["b"].inner) == weights(trained.inner) == places
    predictions = {name: prediction(frozen[name], SHAPE) for name in specs}
    assert not torch.allclose(predictions["a"], predictions["b"], atol=1e-5)
    for name, spec in specs.items():
        torch.testing.assert_close(predictions[name], prediction(Library().predictor(Model.model_validate(spec)), SHAPE))
    assert [name for name, each in trained.named_parameters() if each.requires_grad] == [
        name for name, _ in trained.named_parameters() if "lora_" in name
    ]


@pytest.mark.parametrize("lora", [None, LORA])
def test_the_pretrained_model_stays_what_it_was(tmp_path: Path, text_to_image: str, lora: dict[str, object] | None) -> None:
    recipe = aligned({"load": text_to_image, "prompt": "a pear", "lora": lora})
    first = prepared(recipe, tmp_path)
    (term,) = (each for each in first.sources[0].terms if hasattr(each, "model"))  # type: ignore[attr-defined]
    before, pretrained, trained = prediction(term.model, SHAPE), term.model, first.primal.predictor
    shared = set(weights(pretrained.inner).values()) & set(weights(trained.inner).values())
    assert len(shared) == (len(weights(trained.inner)) if lora else 0)
    with torch.no_grad():
        for each in (each for each in trained.parameters() if each.requires_grad):
            each.add_(0.1)
    assert torch.equal(prediction(pretrained, SHAPE), before)
    assert not torch.allclose(prediction(trained, SHAPE), before, atol=1e-4)


@pytest.mark.parametrize("lora", [None, LORA])
def test_an_amortised_model_is_asked_with_all_its_tensors_on_one_device(
    tmp_path: Path, text_to_image: str, monkeypatch: pytest.MonkeyPatch, lora: dict[str, object] | None
) -> None:
    """Those that it shares with the pretrained model are on the worker's before its own."""
    amortised = {"multipliers": {"low": 0.01, "high": 2.0}, "points": 5}
    recipe = aligned({"load": text_to_image, "prompt": "a pear", "lora": lora}, amortised=amortised)
    asked: list[list[set[str]]] = []

    def noted(predictor: Predictor, shape: tuple[int, ...]) -> None:
        asked.append([{each.device.type for each in those} for those in (predictor.parameters(), predictor.buffers())])

    monkeypatch.setattr("dualsweep.trainer.engine.assembly.check_shape", noted)
    host = replace(host_in(recipe, tmp_path), device=torch.device("meta"))
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # what comes after it reads numbers
        prepare(recipe, host)
    assert asked == [[{"meta"}, {"meta"}]]
