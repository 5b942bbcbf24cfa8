"""Text-to-image models that are trained on images with a caption each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dualsweep.trainer.engine.sample_command import draw, restore
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models import latent_cache, text
from dualsweep.trainer.models.loading import Library
from dualsweep.trainer.models.predictor import Condition
from dualsweep.trainer.recipe.model import Model
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.rng import Stream, normals
from tests.sweeps.here import dualsweep_here
from tests.trainer.engine.test_loop import run

TEXTS = ("a red apple", "a blue pear")
LONG = "a red apple a blue pear a red apple a blue pear"


def images(folder: Path, texts: tuple[str, ...] = TEXTS) -> str:
    """Of each text six images: those of the first are dark above, those of the second dark below."""
    folder.mkdir()
    lines = []
    for number in range(6 * len(texts)):
        which = number % len(texts)
        pixels = np.full((8, 8), 230, np.uint8)
        pixels[: 4 if which else 8, :] = 20 if which == 0 else 230
        pixels[4:, :] = 230 if which == 0 else 20
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
        lines.append(json.dumps({"file_name": f"{number:02d}.png", "text": texts[which]}))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return str(folder)


def recipe_of(place: str, folder: str, **sections: Any) -> Recipe:
    plain: dict[str, Any] = {
        "name": "captioned", "formulation": "constrained_training",
        "model": {"load": place, "condition": "captions", "guidance": 2.0},
        "data": {"folder": folder, "captions": "text", "grey": True},
        "constraints": [{"name": "pears", "data": {"captions": ["*pear*"]}, "at_most": 5.0}],
        "train": {"steps": 3, "batch_size": 8, "lr": 3e-3, "condition_dropout": 0.1},
        "evaluation": {"samples": 4, "sample_steps": 2, "loss_draws": 16, "metrics": [], "grid": 0},
    }  # fmt: skip
    for name, value in sections.items():
        plain[name] = {**plain[name], **value} if isinstance(plain.get(name), dict) else value
    return Recipe.model_validate(plain)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, text_to_image: str) -> str:
    """A checkpoint of 250 steps on the two kinds of images."""
    folder = tmp_path_factory.mktemp("captioned")
    recipe = recipe_of(text_to_image, images(folder / "images"), train={"steps": 250, "batch_size": 16})
    result, *_ = run(recipe, folder / "run")
    return str(result.checkpoint)


def test_each_image_is_learned_under_its_own_caption(trained: str) -> None:
    """At high noise, where x itself tells little, the error of the prediction is less under an image's own caption."""
    model = restore(trained)
    assert model.predictor.texts == TEXTS and model.predictor.guidance == 2.0
    space, count = model.space, 200
    pixels = torch.full((2, 1, 8, 8), 0.8)
    pixels[0], pixels[1, :, 4:] = -0.84, -0.84
    pixels[0, :, 4:] = 0.8
    latents, noise = space.encode(pixels), normals(0, Stream.SAMPLING, 0, range(count), model.shape)
    a = model.schedule.alphas_cumprod[-8]
    better = []
    for which in (0, 1):
        x = a.sqrt() * latents[which] + (1 - a).sqrt() * noise
        t = torch.full((count,), len(model.schedule.alphas_cumprod) - 8)
        with torch.no_grad():
            errors = [
                (model.predictor(x, t, torch.full((count,), asked)) - noise).square().flatten(1).mean(1)
                for asked in (which, 1 - which)
            ]
        better.append(errors[1] - errors[0])
    for gain in better:
        assert gain.mean() > 5 * gain.std() / count**0.5


@pytest.mark.parametrize("none", [None, {"embedding": torch.full((1, 3), 8.0)}])
def test_a_table_of_captions_of_any_size_is_not_copied(none: dict[str, Tensor] | None) -> None:
    """Of so many captions that there is no memory for a copy: 12 TB."""
    row, without, many = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[4.0, 5.0, 6.0]]), 10**12
    given, numbers = {"embedding": row.expand(many, 3)}, torch.tensor([5, many, 0, many - 1])
    condition = Condition(given, {"embedding": without}, of_examples="captions", none=none)
    rows = condition.arguments(torch.zeros(4, 1, 2, 2), numbers)["embedding"]
    assert torch.equal(rows, torch.cat([row, without if none is None else none["embedding"], row, row]))
    with pytest.raises(IndexError):
        condition.arguments(torch.zeros(1, 1, 2, 2), torch.tensor([many + 1]))


def test_samples_have_the_captions_in_turn(trained: str) -> None:
    model = restore(trained)
    noise, t = normals(0, Stream.SAMPLING, 0, range(4), model.shape), torch.full((4,), 30)
    with torch.no_grad():
        turns = model.predictor.guided(noise, t, torch.tensor([0, 1, 0, 1]))
        for which, text in enumerate(TEXTS):
            one = Library().predictor(Model(load=trained, prompt=text, guidance=2.0)).under(model.schedule).eval()
            torch.testing.assert_close(one.guided(noise, t)[which::2], turns[which::2])
    assert draw(model, 4, steps=2).shape == (4, 1, 8, 8)


def test_images_that_all_have_the_same_caption_are_trained_on_and_sampled_under_it(text_to_image: str, tmp_path: Path) -> None:
    """As of one subject; where dropout asks for no caption too, which is the second row, after the only one."""
    recipe = recipe_of(text_to_image, images(tmp_path / "images", TEXTS[:1]), constraints=[], train={"condition_dropout": 0.5})
    result, *_ = run(recipe, tmp_path / "run")
    model = restore(str(result.checkpoint))
    assert model.predictor.texts == TEXTS[:1]
    noise, t = normals(0, Stream.SAMPLING, 0, range(4), model.shape), torch.full((4,), 30)
    one = Library().predictor(Model(load=str(result.checkpoint), prompt=TEXTS[0], guidance=2.0)).under(model.schedule).eval()
    nothing = torch.ones(4, dtype=torch.long)
    with torch.no_grad():
        torch.testing.assert_close(model.predictor.guided(noise, t), one.guided(noise, t))
        assert not torch.allclose(model.predictor(noise, t, nothing), model.predictor(noise, t))
    assert draw(model, 4, steps=2).shape == (4, 1, 8, 8)


def test_any_text_can_be_asked_for(trained: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the command, as by a model that is loaded with that prompt."""
    done = dualsweep_here("sample", trained, "--count", "2", "--prompt", "a pear", "--output", "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    ours = draw(restore(trained, prompt="a pear"), 2)
    np.testing.assert_allclose(np.load(tmp_path / "out" / "samples.npy"), ours.numpy(), atol=1e-6)
    assert not torch.equal(ours, draw(restore(trained), 2))


def test_a_run_is_taken_up_with_its_captions_or_with_a_prompt(trained: str, tmp_path: Path, text_to_image: str) -> None:
    kept = Library().predictor(Model(load=trained))
    assert kept.texts == TEXTS and kept.of_examples == "captions" and kept.has_unconditional
    one = Library().predictor(Model(load=trained, prompt="a pear"))
    assert one.texts == ("a pear",) and not one.of_examples
    result, *_ = run(recipe_of(trained, images(tmp_path / "more"), model={"load": trained}), tmp_path / "run")
    assert result.status in ("converged", "out_of_steps")


def test_captions_are_embedded_as_prompts_are_once_for_all_runs(
    text_to_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(latent_cache.VARIABLE, str(tmp_path / "kept"))
    spec = Model(load=text_to_image, condition="captions")
    asked: list[int] = []
    encode = text._encoded

    def noted(pipeline: Any, texts: Any, *rest: Any) -> Any:
        asked.append(len(texts))
        return encode(pipeline, texts, *rest)

    monkeypatch.setattr(text, "_encoded", noted)
    first, second = (Library(captions=TEXTS).predictor(spec).condition for _ in range(2))
    assert first is not None and second is not None
    assert asked.count(len(TEXTS)) == 1, "the second time only what guidance leads away from is embedded, and one for its shape"
    for row, each in enumerate(TEXTS):
        prompt = Library().predictor(Model(load=text_to_image, prompt=each)).condition
        assert prompt is not None
        own = prompt.arguments(torch.zeros(1, 2, 4, 4))["encoder_hidden_states"]
        for condition in (first, second):
            given = condition.arguments(torch.zeros(1, 2, 4, 4), torch.tensor([row]))["encoder_hidden_states"]
            torch.testing.assert_close(given, own)


@pytest.mark.parametrize("kind", ["text_to_image", "sdxl", "sd3"])
def test_who_loses_a_caption_is_shown_the_empty_text_and_guidance_leads_away_from_the_negative_one(
    kind: str, request: pytest.FixtureRequest
) -> None:
    place, x, nothing = request.getfixturevalue(kind), torch.zeros(1, 2, 4, 4), torch.tensor([len(TEXTS)])
    spec = Model(load=place, condition="captions", guidance=2.0)
    plain, led = (
        Library(captions=TEXTS).predictor(each).condition
        for each in (spec, spec.model_copy(update={"negative_prompt": "pear"}))
    )  # fmt: skip
    pear = Library().predictor(Model(load=place, prompt="pear")).condition
    assert plain is not None and led is not None and pear is not None
    for name in plain.names:
        shown, empty = (each.arguments(x, nothing)[name] for each in (led, plain))
        torch.testing.assert_close(shown, empty)
        assert kind != "sdxl" or not shown.any()
        torch.testing.assert_close(led.arguments(x, kind="without")[name], pear.arguments(x)[name])
        assert not torch.equal(shown, led.arguments(x, kind="without")[name])
        torch.testing.assert_close(led.arguments(x, torch.tensor([1]))[name], plain.arguments(x, torch.tensor([1]))[name])


def test_captions_that_are_too_long_are_cut_and_told_once(
    text_to_image: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = Library(captions=("a pear", LONG, LONG + " a")).predictor(Model(load=text_to_image, condition="captions"))
    assert len(model.texts) == 3
    said = [record.getMessage() for record in caplog.records if "captions have more than" in record.getMessage()]
    assert len(said) == 1 and said[0].startswith("2 of 3 captions have more than the 12 tokens") and LONG in said[0]


@pytest.mark.parametrize(
    ("model", "data", "says"),
    [
        ({"condition": "captions"}, {"captions": None}, "model.condition must go with data that have captions"),
        ({"condition": "captions", "prompt": "a pear"}, {}, "must not stand beside `prompt`"),
    ],
)
def test_what_does_not_fit_is_refused(text_to_image: str, tmp_path: Path, model: Any, data: Any, says: str) -> None:
    with pytest.raises(ValueError) as told:
        recipe_of(text_to_image, images(tmp_path / "images"), model=model, data=data, constraints=[])
    assert says.replace("model.condition ", "") in str(told.value)


def test_a_network_of_classes_takes_no_captions(tmp_path: Path, trained: str) -> None:
    with pytest.raises(ValueError, match="must go with `load` where it is captions"):
        Model(unet={"channels": [8]}, condition="captions")  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match=r"must have a `prompt`, but got none"):
        Library().predictor(Model(load=restore(trained).recipe.model.load, condition="captions"))  # which knows none
