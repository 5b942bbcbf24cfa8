"""The data and the pipeline of the recipe captions.yaml, of fewer images and steps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from dualsweep.sweeps.recipes import captioned_digits as made
from dualsweep.trainer.recipe.load import load_recipe
from tests.benchmarks.common import trained
from tests.sweeps.here import dualsweep_here

RECIPES = Path(__file__).resolve().parents[3] / "sweeps/recipes"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the script leaves, of 500 images and two steps for each network."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("captions")
        patch.chdir(folder)
        made.main(500, 2, 2)
        return folder


def test_captions_name_one_of_the_two_digits_or_the_strokes(folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "captioned-digits/metadata.jsonl").read_text().splitlines()]
    tags = {f"a {word}": word for word in made.WORDS} | {"bold digits": "bold"}
    assert len(lines) == 500 and {line["text"] for line in lines} <= set(made.CAPTIONS)
    assert all(tags.get(line["text"], "bold") in line["tags"] for line in lines if line["text"] != "thin digits")
    assert all("bold" not in line["tags"] for line in lines if line["text"] == "thin digits")
    assert Image.open(folder / "captioned-digits" / lines[0]["file_name"]).size == (32, 32)


def test_bold_images_have_more_ink() -> None:
    images, _, bold = made.pairs(400)
    ink = (images.mean((1, 2, 3)) + 1) / 2
    assert 0.12 < bold.mean() < 0.28  # four standard deviations about a fifth
    assert ink[torch.as_tensor(bold)].mean() > 1.5 * ink[torch.as_tensor(~bold)].mean()


def test_every_word_is_one_token() -> None:
    words = made.tokenizer()
    for caption in (*made.CAPTIONS, "a three and a seven"):
        assert words.convert_ids_to_tokens(words(caption).input_ids)[1:-1] == [f"{word}</w>" for word in caption.split()]


SHORT = ("train.steps=2", "evaluation.samples=8", "evaluation.loss_draws=32", "evaluation.metrics=[]")
CHAIN = ("rollout.steps=2", "rollout.batch_size=4", "dual.every=1", "dual.start=1.0")
#: What the recipes make of one another, in this order: a recipe, and what shortens it.
RUNS = {
    "captioned-digits": ("captions", ("evaluation.sample_steps=2",)),
    "captioned-pairs": ("captions-shares", CHAIN),
    "captioned-both": ("captions-concepts", CHAIN[:-1]),
    "captioned-bold-adapter": ("captions-adapter", ()),
    "captioned-seven-adapter": ("captions-adapter", ("objective.data.attributes={seven: true}",)),
    "captioned-adapters": ("captions-adapters", ("dual.every=1", "product.samples=8", "product.levels=2", "product.steps=1")),
}


@pytest.mark.dear  # a judge of shares three times; that captions.yaml trains is tested below
def test_each_recipe_trains_on_what_those_before_it_made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    results = {
        name: trained(load_recipe(RECIPES / f"{recipe}.yaml", [*SHORT, *edits, f"name={name}"])[0], folder / "runs" / name)
        for name, (recipe, edits) in RUNS.items()
    }
    assert all(result.steps == 2 for result in results.values())
    assert list(results["captioned-pairs"].constraints) == ["threes", "sevens"]
    assert results["captioned-adapters"].constraints["seven"].value != results["captioned-adapters"].constraints["bold"].value


def test_the_pipeline_is_trained_on_the_captions(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    result = trained(load_recipe(RECIPES / "captions.yaml", [*SHORT, "evaluation.sample_steps=2"])[0], folder / "run")
    assert result.steps == 2 and 0.5 < result.objective < 3.0  # of v, latents having a variance of 1


def test_nothing_is_told_of_parts_that_libraries_load(folder: Path) -> None:
    """Bars and notes of diffusers and transformers, among them those of a first import."""
    assert dualsweep_here("init", "captions", folder=folder).returncode == 0
    done = dualsweep_here("check", "--dry-run", "captions.yaml", folder=folder)
    assert done.returncode == 0 and "is good" in done.stdout and done.stderr == ""
