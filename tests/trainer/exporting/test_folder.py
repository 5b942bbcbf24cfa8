"""What is exported, in a process that cannot import us: from the same noise the same images, for every kind of model."""

from __future__ import annotations

import copy
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, DiffusionPipeline, EDMEulerScheduler, UNet2DModel
from mlflow.exceptions import MlflowException
from torch import nn

from dualsweep.sweeps.tracking import exported_model
from dualsweep.trainer.engine.sample_command import Restored, draw, restore
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.exporting.asks import asks_of
from dualsweep.trainer.exporting.folder import Exported, write_pipeline
from dualsweep.trainer.models.composed import Composed
from dualsweep.trainer.models.labels import of_classes
from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.rng import in_turn
from dualsweep.trainer.samplers.chains import Chains
from dualsweep.trainer.samplers.registry import SAMPLERS
from tests.trainer.amortised.test_training import amortised
from tests.trainer.exporting.elsewhere import next_of
from tests.trainer.models.test_build import aligned, train
from tests.trainer.models.test_captions import images
from tests.trainer.models.test_captions import recipe_of as captions
from tests.trainer.models.test_composed import UNETS, recipe
from tests.trainer.recipes import digits

COUNT = 4
LORA = {"rank": 2, "alpha": 3.0, "targets": ["to_q", "to_v"]}
SHORT = {"steps": 3, "lr": 1e-2}
UNMEASURED = {"samples": 0, "sample_steps": 5, "loss_draws": 4}


@dataclass
class Sources:
    """What recipes load."""

    text_to_image: str
    sdxl: str
    sd3: str
    transformer: str
    thresholding: str
    captioned: str
    edm: str

    def text(self, place: str, **keys: Any) -> Recipe:
        sampled = {**UNMEASURED, "sampler": "ddim"} if keys.pop("ddim", False) else UNMEASURED
        return aligned({"load": place, "prompt": "a red apple", **keys}, train=SHORT | {"batch_size": 4}, evaluation=sampled)


Make = Callable[[Sources], Recipe]
#: Every kind of model and of sampler.
KINDS: dict[str, Make] = {
    "unconditional": lambda of: digits(train=SHORT),
    "ancestral": lambda of: digits(train=SHORT, evaluation={"sampler": "ddpm"}),
    "predicts v": lambda of: digits(train=SHORT, schedule={"prediction": "v_prediction"}, evaluation={"sampler": "ddim"}),
    "thresholded": lambda of: Recipe.model_validate(
        digits(train=SHORT).model_dump(mode="json") | {"model": {"load": of.thresholding}, "schedule": None}
    ),
    "flow": lambda of: digits(train=SHORT, schedule={"prediction": "flow", "shift": 2.0}),
    "edm": lambda of: digits(train=SHORT, schedule={"name": "edm", "sigma_data": 0.6}),
    "amortised": lambda of: amortised(train=SHORT),
    "aligned": lambda of: aligned({"load": of.thresholding, "shape": [1, 8, 8]}, evaluation=UNMEASURED),
    "of a class": lambda of: digits(train=SHORT, model={"unet": None, "load": of.transformer, "label": 1, "guidance": 2.0}),
    "of all classes": lambda of: digits(
        train=SHORT | {"condition_dropout": 0.2}, model={"condition": "labels", "guidance": 2.0}
    ),
    "of all classes, langevin": lambda of: digits(
        train=SHORT | {"condition_dropout": 0.2}, model={"condition": "labels"},
        evaluation={"sampler": "langevin", "sample_steps": 3},
    ),
    "of text": lambda of: of.text(of.text_to_image, ddim=True, guidance=3.0),
    "of captions": lambda of: captions(of.text_to_image, of.captioned, train=SHORT | {"batch_size": 4}, evaluation=UNMEASURED),
    "of several texts": lambda of: of.text(of.text_to_image, prompt=None, prompts=["a red apple", "a pear"], lora=LORA),
    "of text, adapted": lambda of: of.text(
        of.text_to_image, ddim=True, guidance=3.0, negative_prompt="pear", lora=LORA
    ),
    "of SDXL": lambda of: of.text(of.sdxl, ddim=True, guidance=3.0, lora=LORA),
    "of text, edm": lambda of: of.text(of.edm, ddim=True, guidance=3.0),
    "of SD3": lambda of: of.text(of.sd3, guidance=3.0, lora=LORA),
    "product": lambda of: recipe({"compose": {"of": ["a", "b"]}, "shape": [1, 8, 8]}, UNETS),
    "concepts": lambda of: recipe({"compose": {"of": ["a", "b"], "guidance": 2.0, "base": "any"}, "shape": [1, 8, 8]}, UNETS),
    "concepts of text": lambda of: recipe(
        {"compose": {"of": ["apple", "pear"], "guidance": 3.0}},
        {word: {"load": of.text_to_image, "prompt": f"a {word}"} for word in ("apple", "pear")},
    ),
}  # fmt: skip
#: How diffusers' own pipeline is asked for the same; of other kinds its sampler is another.
SAME_CALL = {
    "of text": {"prompt": "a red apple", "num_inference_steps": 5, "guidance_scale": 3.0},
    "of text, adapted": {"prompt": "a red apple", "num_inference_steps": 5, "guidance_scale": 3.0, "negative_prompt": "pear"},
    "of SDXL": {"prompt": "a red apple", "num_inference_steps": 5, "guidance_scale": 3.0},
    "of text, edm": {"prompt": "a red apple", "num_inference_steps": 5, "guidance_scale": 3.0},
}


@dataclass
class Case:
    """One exported model: what was written, our own samples, and those of the other process, in [0, 1]."""

    model: Restored
    exported: Exported
    folder: Path
    ours: np.ndarray

    @property
    def carried(self) -> np.ndarray:
        return np.asarray(np.load(self.folder / "carried.npy"))


def noise_of(model: Restored) -> list[np.ndarray]:
    """All draws of our own sampler for the first samples, in the order in which a chain takes them."""
    sampling = model.recipe.sampling
    turns = len(model.predictor.texts)
    chains = Chains(model.schedule, sampling, model.recipe.seed, model.shape, torch.device("cpu"), turns)
    predict = model.predictor.guided if SAMPLERS[sampling.sampler].guided else model.predictor
    written = SAMPLERS[sampling.sampler].written
    assert written is not None
    moves = written(predict, chains).moves
    if sampling.sampler == "rollout":
        drawn = chains.noise(range(COUNT), len(moves)).unbind(1)
        return [each.numpy() for each in drawn]
    noisy = [0, *(1 + number for number, move in enumerate(moves) if move.of_noise)]
    return [chains.draws(range(COUNT))(number).numpy() for number in noisy]


def case(name: str, of: Sources, folder: Path) -> Case:
    result = train(KINDS[name](of), folder / "run")
    model = restore(str(result.checkpoint))
    (folder / "out").mkdir()
    exported = write_pipeline(model, folder / "out")
    np.savez(folder / "draws.npz", *noise_of(model))
    if name in SAME_CALL:
        (folder / "plain.json").write_text(json.dumps(SAME_CALL[name]))
        if model.recipe.model.lora is not None:
            lora = {"base": str(model.recipe.model.load), "checkpoint": str(result.checkpoint)}
            (folder / "lora.json").write_text(json.dumps(lora))
    ours = (draw(model, COUNT, seed=model.recipe.seed) / 2 + 0.5).clamp(0, 1)
    return Case(model, exported, folder, ours.numpy())


@pytest.fixture(scope="module")
def cases(
    tmp_path_factory: pytest.TempPathFactory, text_to_image: str, sdxl: str, sd3: str, transformer: str
) -> dict[str, Case]:  # fmt: skip
    root = tmp_path_factory.mktemp("exported")
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8,), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
    )  # fmt: skip
    scheduler = DDPMScheduler(50, thresholding=True, clip_sample=False, dynamic_thresholding_ratio=0.9, sample_max_value=2.0)
    DDPMPipeline(unet, scheduler).save_pretrained(root / "thresholding")
    shutil.copytree(text_to_image, root / "edm")
    # 5 of 401 levels are every hundredth: those that diffusers takes by the same formula.
    EDMEulerScheduler(num_train_timesteps=401).save_pretrained(str(root / "edm" / "scheduler"))
    index = json.loads((root / "edm" / "model_index.json").read_text()) | {"scheduler": ["diffusers", "EDMEulerScheduler"]}
    (root / "edm" / "model_index.json").write_text(json.dumps(index))
    own = {"captioned": images(root / "images"), "edm": str(root / "edm")}
    of = Sources(text_to_image, sdxl, sd3, transformer, str(root / "thresholding"), **own)
    made = {name: case(name, of, root / name) for name in KINDS}
    elsewhere = root / "elsewhere"
    elsewhere.mkdir()
    environment = {**os.environ, "HF_HOME": str(elsewhere / "hub"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    script = Path(__file__).with_name("elsewhere.py")
    ran = subprocess.run(
        [sys.executable, "-I", str(script), *(str(each.folder) for each in made.values())],
        cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "[]"  # nothing of ours was imported
    return made


@pytest.mark.parametrize("name", KINDS)
def test_the_same_noise_gives_the_same_images_elsewhere(name: str, cases: dict[str, Case]) -> None:
    made = cases[name]
    assert made.carried.std() > 0.05  # images, not one grey
    np.testing.assert_allclose(made.carried, made.ours, atol=1e-4)


@pytest.mark.parametrize("name", SAME_CALL)
def test_diffusers_own_pipeline_gives_them_too(name: str, cases: dict[str, Case]) -> None:
    np.testing.assert_allclose(np.load(cases[name].folder / "plain.npy"), cases[name].ours, atol=1e-4)


def test_diffusers_own_pipeline_with_the_checkpoints_adapter_gives_them_too(cases: dict[str, Case]) -> None:
    """Of SDXL too, where so short a training shows too little to tell the adapter from none."""
    for name in ("of text, adapted", "of SDXL"):
        np.testing.assert_allclose(np.load(cases[name].folder / "lora.npy"), cases[name].ours, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "pipeline"),
    [
        ("unconditional", "DDIMPipeline"), ("predicts v", "DDIMPipeline"), ("amortised", "DDIMPipeline"), ("aligned", None),
        ("flow", None), ("edm", None), ("of a class", None), ("product", None), ("concepts of text", None),
        ("of text", "StableDiffusionPipeline"), ("of text, edm", "StableDiffusionPipeline"),
        ("of captions", "StableDiffusionPipeline"), ("of SDXL", "StableDiffusionXLPipeline"),
        ("of SD3", "StableDiffusion3Pipeline"),
    ],
)  # fmt: skip
def test_diffusers_own_class_is_named_where_there_is_one(name: str, pipeline: str | None, cases: dict[str, Case]) -> None:
    assert cases[name].exported.pipeline == pipeline
    named = json.loads((cases[name].folder / "out" / "model_index.json").read_text())["_class_name"]
    assert named == (pipeline or ["pipeline", "SamplingPipeline"])


def loaded(made: Case) -> Any:
    out = str(made.folder / "out")
    pipeline = DiffusionPipeline.from_pretrained(out, custom_pipeline=out, trust_remote_code=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_a_prompt_stands_in_place_of_the_models_own(cases: dict[str, Case]) -> None:
    pipeline = loaded(cases["of text"])

    def drawn(prompt: str | list[str] | None) -> Any:
        return pipeline(2, prompt, generator=torch.Generator().manual_seed(0), output_type="np").images

    np.testing.assert_array_equal(drawn("a red apple"), drawn(None))
    both = drawn(["a red apple", "a pear"])
    np.testing.assert_allclose(both[0], drawn(None)[0], atol=1e-5)
    assert np.abs(both[1] - drawn(None)[1]).max() > 1e-3
    for name, said in (("unconditional", "this one takes no text"), ("concepts of text", "is composed of 2 texts")):
        with pytest.raises(ValueError, match=f"`prompt` must go with a model of text, but .*{said}; leave it out"):
            loaded(cases[name])(prompt="a pear")


def test_many_classes_have_their_turns_as_in_our_own_samples() -> None:
    """The pipeline goes through them as they are written; a class is found by its name all the same."""
    names = [f"class {number}" for number in range(200)]
    model = Predictor(nn.Identity(), of_classes(range(200), 200, texts=names, classes=names, of_examples="labels"), 2.0)
    given, without = (ask.written({id(model.inner): "unet"}) for ask in asks_of(model, guided=True))
    assert torch.equal(torch.tensor(given["labels"]), in_turn(200, range(200)))  # type: ignore[arg-type]  # there are several
    assert given["labels"][:3] != [0, 1, 2] and given["classes"] == names and set(without["labels"]) == {200}


def test_a_class_stands_in_place_of_all_in_turn(cases: dict[str, Case]) -> None:
    made = cases["of all classes"]
    pipeline, start = loaded(made), torch.from_numpy(noise_of(made.model)[0])
    ours = (draw(made.model, COUNT, seed=made.model.recipe.seed, label="7") / 2 + 0.5).clamp(0, 1).numpy()
    for label in ("7", 7):
        np.testing.assert_allclose(pipeline(COUNT, latents=start, class_labels=label, output_type="pt").images, ours, atol=1e-4)
    assert np.abs(ours - made.ours).max() > 1e-3 and len(pipeline().images) == 10
    for name, said in (("of all classes", "of 0, 1, 2, .*, but got 'cat'"), ("unconditional", "left out, as .*, but got 'cat'")):
        with pytest.raises(ValueError, match=f"`class_labels` must be {said}"):
            loaded(cases[name])(class_labels="cat")


def test_digits_that_name_a_class_are_its_name_and_no_position(cases: dict[str, Case], tmp_path: Path) -> None:
    out = shutil.copytree(cases["of all classes"].folder / "out", tmp_path / "out")
    config = out / "scheduler" / "scheduler_config.json"
    told = json.loads(config.read_text())
    for ask in told["_exported"]["asks"]:
        ask["classes"] = [str(number) for number in range(1, 11)] if ask["classes"] else []
    config.write_text(json.dumps(told))
    pipeline = DiffusionPipeline.from_pretrained(str(out), custom_pipeline=str(out), trust_remote_code=True)
    pipeline.set_progress_bar_config(disable=True)
    model = exported_model._load_pyfunc(str(out))

    def drawn(label: str | int) -> np.ndarray:
        images = pipeline(2, class_labels=label, generator=torch.Generator().manual_seed(0), output_type="pt").images
        return np.asarray(2 * images.numpy() - 1)

    for label in ("8", "1", "10"):
        np.testing.assert_array_equal(model.predict(pd.DataFrame({"num_samples": [2], "label": [label]})), drawn(label))
        np.testing.assert_array_equal(drawn(int(label)), drawn(label))
    assert np.abs(drawn("8") - drawn("9")).max() > 1e-3
    np.testing.assert_array_equal(drawn(0), drawn("1"))  # a number that is no class's name is a position


def from_our_noise(made: Case, **options: Any) -> np.ndarray:
    """The images [COUNT, channels, height, width] of what was exported, from the noise of our own samples."""
    pipeline = loaded(made)
    with pytest.MonkeyPatch.context() as patched:
        draws = [torch.from_numpy(each) for each in noise_of(made.model)]
        patched.setattr(sys.modules[type(pipeline).__module__], "randn_tensor", next_of(draws))
        return np.asarray(pipeline(COUNT, output_type="pt", **options).images)


@pytest.mark.parametrize("name", ["of all classes", "of text", "of SDXL", "concepts", "concepts of text"])
def test_another_guidance_stands_in_place_of_the_models_own(name: str, cases: dict[str, Case]) -> None:
    made = cases[name]
    for scale in (1.0, 4.5):
        predictor = copy.deepcopy(made.model.predictor)
        if isinstance(predictor, Composed):
            predictor.scale = scale
        else:
            predictor.guidance = scale
        ours = draw(made.model._replace(predictor=predictor), COUNT, seed=made.model.recipe.seed) / 2 + 0.5
        np.testing.assert_allclose(from_our_noise(made, guidance_scale=scale), ours.clamp(0, 1), atol=1e-4)
        assert np.abs(ours.clamp(0, 1).numpy() - made.ours).max() > 1e-3
    with pytest.raises(ValueError, match="`guidance_scale` must be a finite number, 1 for none, but got nan"):
        loaded(made)(guidance_scale=float("nan"))
    with pytest.raises(ValueError, match="`guidance_scale` must go with a model of an unconditional prediction"):
        loaded(cases["unconditional"])(guidance_scale=2.0)


def test_an_amortised_network_is_asked_at_other_multipliers(cases: dict[str, Case]) -> None:
    made = cases["amortised"]
    for wanted in ({}, {"four": 1.5}, {"five": 0.02, "four": 0.3}):
        model = restore(made.model.checkpoint, wanted)
        ours = (draw(model, COUNT, seed=model.recipe.seed) / 2 + 0.5).clamp(0, 1).numpy()
        np.testing.assert_allclose(from_our_noise(made, multipliers=wanted), ours, atol=1e-4)
        assert np.abs(ours - made.ours).max() > 1e-3
    np.testing.assert_allclose(from_our_noise(made, multipliers=made.model.multipliers), made.ours, atol=1e-4)
    np.testing.assert_allclose(from_our_noise(made), made.ours, atol=1e-4)
    for bad in ({"four": -1.0}, {"four": float("inf")}, {"nine": 1.0}):
        with pytest.raises(ValueError, match="`multipliers` must be numbers ≥ 0 of four, five, but got"):
            loaded(made)(multipliers=bad)
    with pytest.raises(ValueError, match="`multipliers` must go with an amortised model, but this one has one set"):
        loaded(cases["unconditional"])(multipliers={"four": 1.0})


def test_the_rows_of_a_table_reach_the_pipeline(cases: dict[str, Case], monkeypatch: pytest.MonkeyPatch) -> None:
    made = cases["of text"]
    model, pipeline = exported_model._load_pyfunc(str(made.folder / "out")), loaded(made)
    monkeypatch.setattr(model, "_at_once", 2)
    rows = {"num_samples": [3, np.nan], "seed": [7.0, np.nan], "prompt": ["a pear", None]}
    samples = model.predict(pd.DataFrame(rows), {"seed": 5, "guidance": 2.0})
    assert samples.shape == (4, 1, 8, 8) and samples.dtype == np.float32
    generator, led = torch.Generator().manual_seed(7), {"guidance_scale": 2.0, "output_type": "pt"}
    parts = [pipeline(size, "a pear", generator=generator, **led).images for size in (2, 1)]
    last = pipeline(1, generator=torch.Generator().manual_seed(5), **led).images
    np.testing.assert_allclose(samples, 2 * torch.cat([*parts, last]).numpy() - 1, atol=1e-5)


def test_many_samples_of_a_table_have_all_classes_alike(cases: dict[str, Case], monkeypatch: pytest.MonkeyPatch) -> None:
    made = cases["of all classes"]
    model, pipeline = exported_model._load_pyfunc(str(made.folder / "out")), loaded(made)
    monkeypatch.setattr(model, "_at_once", 15)
    generator = torch.Generator().manual_seed(0)
    parts = [pipeline(size, generator=generator, output_type="pt").images for size in (10, 10, 4)]
    expected = 2 * torch.cat(parts).numpy() - 1
    np.testing.assert_allclose(model.predict(pd.DataFrame({"num_samples": [24]})), expected, atol=1e-5)
    np.testing.assert_allclose(model.predict(pd.DataFrame(), {"num_samples": 24}), expected, atol=1e-5)
    for label, asked in (("7", "7"), ("7", 7)):
        generator.manual_seed(3)
        of_one = pipeline(2, class_labels=asked, generator=generator, output_type="pt").images
        rows = pd.DataFrame({"num_samples": [2], "seed": [3], "label": [label]})
        np.testing.assert_allclose(model.predict(rows), 2 * of_one.numpy() - 1, atol=1e-5)


def test_samples_of_a_turn_that_is_longer_than_a_part_go_on_where_the_last_part_ended(
    cases: dict[str, Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = cases["of all classes"]
    model, pipeline = exported_model._load_pyfunc(str(made.folder / "out")), loaded(made)
    monkeypatch.setattr(model, "_at_once", 4)
    generator, sizes = torch.Generator().manual_seed(0), set[int]()
    model._pipeline.unet.register_forward_pre_hook(lambda _, given: sizes.add(len(given[0])))
    parts = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 0, 1], [2, 3]]
    images = [pipeline(len(each), class_labels=each, generator=generator, output_type="pt").images for each in parts]
    expected = 2 * torch.cat(images).numpy() - 1
    np.testing.assert_allclose(model.predict(pd.DataFrame({"num_samples": [14]})), expected, atol=1e-5)
    assert sizes == {4, 2}
    texts = loaded(cases["of captions"])
    both, second = (
        texts(2, first=first, latents=torch.zeros(2, 2, 4, 4), output_type="pt").images.numpy() for first in (0, 1)
    )  # fmt: skip
    np.testing.assert_allclose(second, both[::-1], atol=1e-5)
    assert np.abs(both[0] - both[1]).max() > 1e-4


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"count": [3]}, r"must say one of num_samples, .* but got the columns \['count'\] .* write {.data"),
        ({"num_samples": []}, "must say one of num_samples, seed, prompt, label, guidance"),
        ({"num_samples": [1, 0]}, "`num_samples` must be a whole number from 1 on, but got 0; write 1"),
        ({"num_samples": [2.5]}, "`num_samples` must be a whole number from 1 on, but got 2.5; write 1"),
        ({"seed": [-1]}, "`seed` must be a whole number from 0 on, but got -1; write 0"),
        ({"label": ["cat"]}, "`label` must be of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, but got 'cat'"),
        ({"label": ["12"]}, "`label` must be of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, but got '12'"),
        ({"prompt": ["a pear"]}, "`prompt` must go with a model of text, but this one takes no text; leave it out"),
        ({"guidance": [float("inf")]}, "`guidance` must be a finite number, 1 for none, but got inf"),
    ],
)  # fmt: skip
def test_what_a_table_must_not_ask_is_told(rows: dict[str, list[Any]], said: str, cases: dict[str, Case]) -> None:
    model = exported_model._load_pyfunc(str(cases["of all classes"].folder / "out"))
    with pytest.raises(MlflowException, match=said):
        model.predict(pd.DataFrame(rows))


def test_what_no_pipeline_can_sample_is_refused(
    cases: dict[str, Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    product, plain = cases["product"].model, cases["unconditional"].model
    assert isinstance(product.predictor, Composed)
    many = Composed({str(number): Predictor(copy.deepcopy(product.predictor.parts["a"].inner)) for number in range(9)})
    with pytest.raises(TrainingError, match="must have at most 8 networks to be exported, but got 9"):
        write_pipeline(product._replace(predictor=many), tmp_path)
    with pytest.raises(TrainingError, match="must be of diffusers to be exported, but got a Identity of your own"):
        write_pipeline(plain._replace(predictor=Predictor(torch.nn.Identity())), tmp_path)
    text = cases["concepts of text"].model
    assert isinstance(text.predictor, Composed)
    condition = text.predictor.parts["pear"].condition
    assert condition is not None
    monkeypatch.setattr(condition, "encoders", "elsewhere")
    with pytest.raises(TrainingError, match=r"must share their text encoders, but got those of .* and elsewhere"):
        write_pipeline(text, tmp_path)
    monkeypatch.setitem(SAMPLERS, "dpmpp_2m", replace(SAMPLERS["dpmpp_2m"], written=None))
    with pytest.raises(
        TrainingError, match="must have a form in numbers to be exported, but dpmpp_2m has none; give it `written`"
    ):
        write_pipeline(plain, tmp_path)
    assert list(tmp_path.iterdir()) == []
