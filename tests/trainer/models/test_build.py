"""Every kind of model through the whole trainer, with real classes and random weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel, UNet2DModel

from dualsweep.trainer.checkpoint import CheckpointFolder, Snapshot
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.assembly import Prepared, prepare
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.gradient_primal import GradientPrimal
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.sample_command import generate, restore
from dualsweep.trainer.engine.worker import run_worker
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.loading import Library
from dualsweep.trainer.models.schedules import own_schedule
from dualsweep.trainer.models.spaces import Latents
from dualsweep.trainer.recipe.model import Model
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.recipe.sampling import Sampling
from dualsweep.trainer.result import Result
from dualsweep.trainer.rng import Stream, normals
from dualsweep.trainer.samplers.sampling import sample
from dualsweep.trainer.sources.mixture import MixtureStep
from tests.trainer import tiny
from tests.trainer.recipes import digits


def train(recipe: Recipe, folder: Path) -> Result:
    result = run_worker(recipe, host_in(recipe, folder), str(folder), str(folder.parent / "judges"))
    assert result is not None
    return result


def host_in(recipe: Recipe, folder: Path) -> LocalHost:
    return LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(str(folder / "checkpoints")))


def latest(folder: Path) -> Snapshot:
    snapshot = CheckpointFolder(str(folder / "checkpoints")).latest()
    assert snapshot is not None
    return snapshot


def prepared(recipe: Recipe, folder: Path) -> Prepared:
    return prepare(recipe, host_in(recipe, folder), str(folder / "judges"))


def brightness(x: torch.Tensor) -> torch.Tensor:
    assert x.shape[1:3] == (1, 8)  # decoded images, not latents
    return x.mean((1, 2, 3))


def points() -> list[torch.Tensor]:
    return list(torch.randn(64, 2, generator=torch.Generator().manual_seed(0)))


def network() -> torch.nn.Module:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Linear(2, 2)
            self.kept = torch.nn.Parameter(torch.ones(2), requires_grad=False)

        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.inner(x) * self.kept
            return result

    return Net()


def aligned(model: dict[str, Any], **sections: Any) -> Recipe:
    base: dict[str, Any] = {
        "name": "aligned", "formulation": "alignment", "model": model,
        "constraints": [{"name": "bright", "reward": {"call": "tests.trainer.models.test_build:brightness"}, "at_least": 0.5}],
        "train": {"steps": 4, "batch_size": 4, "lr": 1e-2},
        "rollout": {"steps": 3, "batch_size": 4, "normalization_samples": 16},
        "evaluation": {"samples": 6, "sample_steps": 3, "loss_draws": 8, "batch_size": 4, "grid": 4}, "checkpoint": {"every": 2},
    }  # fmt: skip
    return Recipe.model_validate({**base, **sections})


def prediction(model: torch.nn.Module, shape: tuple[int, ...]) -> torch.Tensor:
    x = normals(0, Stream.SAMPLING, 0, range(3), shape)
    with torch.no_grad():
        result: torch.Tensor = model.eval()(x, torch.tensor([0, 7, 30]))
    return result


# Our own checkpoints.


@pytest.mark.parametrize("place", ["", "checkpoints"])
def test_a_run_is_loaded_with_its_averaged_weights_and_its_schedule(tmp_path, place):
    first = digits(schedule={"name": "linear", "prediction": "v_prediction"}, train={"ema": 0.5})
    result = train(first, tmp_path / "a")
    spec = Model(load=str(tmp_path / "a" / place))
    loaded, schedule = Library().predictor(spec), own_schedule(spec)
    run = prepared(first, tmp_path / "a")
    assert schedule is not None
    groups = latest(tmp_path / "a").groups
    averages = [groups["average"][str(i)] for i in range(len(groups["average"]))]
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(loaded.inner.parameters(), averages, strict=True))
    assert not torch.equal(averages[0], next(iter(groups["weights"].values())))
    assert torch.equal(schedule.alphas_cumprod, run.schedule.alphas_cumprod)
    assert schedule.config.prediction_type == "v_prediction"
    assert torch.equal(prediction(restore(str(result.checkpoint))[0], (1, 8, 8)), prediction(loaded, (1, 8, 8)))


def test_a_run_goes_on_from_a_run_and_stays_close_to_it(tmp_path):
    train(digits(), tmp_path / "a")
    plain = digits().model_dump(mode="json", exclude_defaults=True)
    plain |= {"model": {"load": str(tmp_path / "a")}, "models": {"pretrained": {"load": str(tmp_path / "a")}}}
    plain["constraints"] = [{"name": "near", "closeness": {"samples": 32}, "at_most": 0.1}]
    del plain["schedule"]
    recipe = Recipe.model_validate({**plain, "formulation": "combined", "train": {**plain["train"], "steps": 1, "lr": 1e-9}})
    assert train(recipe, tmp_path / "b").constraints["near"].value == pytest.approx(0.0, abs=1e-10)


def test_a_users_module_is_loaded_from_its_run(tmp_path):
    model = {"call": "tests.trainer.models.test_build:network"}
    recipe = digits(model={"unet": None, **model}, constraints=[]).model_dump(mode="json")
    recipe["data"] = {"call": "tests.trainer.models.test_build:points"}
    result = train(Recipe.model_validate(recipe), tmp_path / "a")
    loaded = Library().predictor(Model(load=str(tmp_path / "a")))
    average = latest(tmp_path / "a").groups["average"]
    weights = loaded.inner.state_dict()
    assert torch.equal(weights["inner.weight"], average["0"]) and torch.equal(weights["kept"], torch.ones(2))
    recipe["model"] = {"load": str(tmp_path / "a")}
    again = train(Recipe.model_validate(recipe), tmp_path / "b")
    assert again.status != "failed" and restore(str(result.checkpoint))[3] == (2,)
    assert torch.equal(restore(str(again.checkpoint))[0].inner.state_dict()["kept"], torch.ones(2))


# Text to image.


def test_prompts_guidance_and_decoding_are_those_of_diffusers(text_to_image):
    spec = Model(load=text_to_image, prompt="a red apple", negative_prompt="pear", guidance=3.0)
    model, space = Library().predictor(spec), Library().space(spec)
    schedule = own_schedule(spec)
    shape = (2, 4, 4)
    latents = sample(model, schedule, range(2), shape, sampling=Sampling("ddim", 5, 1.0), seed=7, batch_size=2)
    pipeline = StableDiffusionPipeline.from_pretrained(text_to_image)
    pipeline.scheduler = tiny.trailing(pipeline.scheduler)
    images = pipeline(
        ["a red apple"] * 2, negative_prompt=["pear"] * 2, guidance_scale=3.0, num_inference_steps=5, output_type="pt",
        latents=normals(7, Stream.SAMPLING, 0, range(2), shape),
    ).images  # fmt: skip
    ours = (space.decode(latents).clamp(-1, 1) + 1) / 2
    torch.testing.assert_close(ours, images, rtol=1e-4, atol=1e-4)
    other = Library().predictor(Model(load=text_to_image, prompt="a blue pear"))
    assert not torch.allclose(prediction(other, shape), prediction(model, shape))


def test_latents_are_the_scaled_mean_of_the_encoder():
    vae = tiny.autoencoder()
    space = Latents(vae, torch.device("cpu"))
    x = torch.rand(3, 1, 8, 8) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(space.encode(x), vae.encode(x).latent_dist.mean * 0.7)
        torch.testing.assert_close(space.decode(space.encode(x)), vae.decode(vae.encode(x).latent_dist.mean).sample)
    assert space.coded((1, 8, 8)) == (2, 4, 4) and space.decoded((2, 4, 4)) == (1, 8, 8)


def test_data_are_encoded_for_the_losses_and_samples_decoded_for_the_metrics(tmp_path, text_to_image):
    recipe = digits(model={"unet": None, "load": text_to_image, "prompt": "a pear"}, train={"steps": 4})
    result = train(recipe, tmp_path / "a")
    assert np.load(tmp_path / "a" / "samples.npy").shape == (16, 1, 8, 8)
    assert np.isfinite([value for name, value in result.metrics.items() if name.startswith("eval/")]).all()
    first = prepared(recipe, tmp_path / "b")
    turn = first.sources[0].begin_step(0, np.array([1.0, 0.0, 0.0]))
    assert first.data is not None and isinstance(turn, MixtureStep)
    assert turn._noised.x.shape[1:] == (2, 4, 4) and first.data.examples.shape == (1, 8, 8)
    unet = UNet2DConditionModel.from_pretrained(str(result.checkpoint), subfolder="unet")
    whole = StableDiffusionPipeline.from_pretrained(text_to_image, unet=unet)
    assert whole("a pear", num_inference_steps=2, output_type="np").images.shape == (1, 8, 8, 1)
    made = generate(str(result.checkpoint), 3, tmp_path / "made", sampler="ddim", steps=3, seed=0)
    assert made.shape == (3, 1, 8, 8) and (tmp_path / "made" / "00002.png").is_file()


def test_rewards_of_decoded_images_reach_the_weights(tmp_path, text_to_image):
    recipe = aligned({"load": text_to_image, "prompt": "a pear", "guidance": 2.0})
    first = prepared(recipe, tmp_path)
    turn = first.sources[0].begin_step(0, np.array([0.0, -1.0]))
    turn.loss(0).backward()
    assert isinstance(first.primal, GradientPrimal)
    gradients = [each.grad for each in first.primal.parameters if each.grad is not None]
    assert sum(float(each.square().sum()) for each in gradients) > 0
    result = train(recipe, tmp_path / "a")
    assert np.isfinite(result.constraints["bright"].value) and np.load(tmp_path / "a" / "samples.npy").shape == (6, 1, 8, 8)


# Adapters.

LORA = {"rank": 2, "alpha": 3.0, "targets": ["to_q", "to_v"]}


def test_only_the_adapter_is_trained_and_diffusers_loads_it(tmp_path, text_to_image):
    spec = {"load": text_to_image, "prompt": "a pear", "lora": LORA}
    recipe = aligned(spec)
    result = train(recipe, tmp_path / "a")
    ours = Library().predictor(Model(load=str(tmp_path / "a")))
    pipeline = StableDiffusionPipeline.from_pretrained(text_to_image)
    base = Library().predictor(Model(load=text_to_image, prompt="a pear"))
    assert not torch.allclose(prediction(ours, (2, 4, 4)), prediction(base, (2, 4, 4)), atol=1e-5)
    pipeline.load_lora_weights(str(result.checkpoint))
    base.inner = pipeline.unet
    torch.testing.assert_close(prediction(base, (2, 4, 4)), prediction(ours, (2, 4, 4)))
    trained = [name for name, each in ours.inner.named_parameters() if each.requires_grad]
    assert trained and all("lora_" in name for name in trained)
    weights = latest(tmp_path / "a").groups["weights"]
    assert sorted(weights) == sorted(trained)
    assert generate(str(result.checkpoint), 2, tmp_path / "made", sampler="ddim", steps=2, seed=0).shape == (2, 1, 8, 8)


def test_a_base_under_adapters_of_runs(tmp_path, text_to_image):
    spec = {"load": text_to_image, "prompt": "a pear", "lora": LORA}
    train(aligned(spec), tmp_path / "a")
    under = {"load": text_to_image, "prompt": "a pear", "lora": str(tmp_path / "a")}
    same, whole = Library().predictor(Model(**under)), Library().predictor(Model(load=str(tmp_path / "a")))
    assert torch.equal(prediction(same, (2, 4, 4)), prediction(whole, (2, 4, 4)))
    near = [{"name": "near", "path_kl": {"to": "a"}, "at_most": 1.0}]
    result = train(aligned(under, models={"a": under}, constraints=near, train={"steps": 1, "lr": 1e-9}), tmp_path / "b")
    assert result.constraints["near"].value == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(TrainingError, match="lora must be put on a network without an adapter"):
        Library().predictor(Model.model_validate({"load": str(tmp_path / "a"), "lora": LORA}))
    again = Library().predictor(Model(load=str(tmp_path / "b")))  # an adapter that was trained on from another run's
    torch.testing.assert_close(prediction(again, (2, 4, 4)), prediction(whole, (2, 4, 4)))


def test_a_resumed_run_with_an_adapter_equals_the_uninterrupted_one(tmp_path, text_to_image):
    recipe = aligned({"load": text_to_image, "prompt": "a pear", "lora": LORA}, evaluation={"samples": 0, "loss_draws": 4})
    train(recipe, tmp_path / "whole")
    whole = latest(tmp_path / "whole")
    half = recipe.model_copy(update={"train": recipe.train.model_copy(update={"steps": 2})})
    train(half, tmp_path / "parts")
    train(recipe, tmp_path / "parts")
    parts = latest(tmp_path / "parts")
    assert parts.step == whole.step == 4
    assert all(torch.equal(parts.groups["weights"][name], value) for name, value in whole.groups["weights"].items())


# Classes.


def test_a_class_conditional_transformer_trains_and_guides(tmp_path, transformer):
    recipe = digits(model={"unet": None, "load": transformer, "label": 1, "guidance": 2.0, "lora": LORA}, train={"steps": 4})
    result = train(recipe, tmp_path / "a")
    assert np.load(tmp_path / "a" / "samples.npy").shape == (16, 1, 8, 8)
    loaded = restore(str(result.checkpoint))[0]
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([3, 20])
    with torch.no_grad():
        given, without = (loaded.inner(x, t, class_labels=torch.tensor([label] * 2)).sample[:, :1] for label in (1, 3))
        torch.testing.assert_close(loaded(x, t), given)
        torch.testing.assert_close(loaded.guided(x, t), without + 2 * (given - without))


def test_a_unet_with_classes_is_given_its_own(tmp_path):
    torch.manual_seed(0)
    UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8,), norm_num_groups=4, num_class_embeds=3,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), add_attention=False,
    ).save_pretrained(tmp_path / "unet")  # fmt: skip
    spec = {"load": str(tmp_path / "unet"), "label": 2}
    result = train(digits(model={"unet": None, **spec}, train={"steps": 2}), tmp_path / "a")
    loaded = restore(str(result.checkpoint))[0]
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([3, 20])
    with torch.no_grad():
        torch.testing.assert_close(loaded(x, t), loaded.inner(x, t, class_labels=torch.tensor([2, 2])).sample)
    with pytest.raises(TrainingError, match="`guidance` must go with a network that also knows no class"):
        Library().predictor(Model.model_validate({**spec, "guidance": 2.0}))


def test_a_schedule_that_contradicts_the_loaded_model_is_refused(tmp_path):
    train(digits(schedule={"prediction": "v_prediction"}, train={"steps": 1}, evaluation={"samples": 0}), tmp_path / "a")
    with pytest.raises(TrainingError, match="must be what the loaded model predicts, v_prediction, but got flow"):
        prepared(digits(model={"unet": None, "load": str(tmp_path / "a")}, schedule={"prediction": "flow"}), tmp_path / "b")


# What makes no sense.


def test_what_a_model_does_not_take_is_refused(tmp_path, text_to_image, transformer):
    train(digits(train={"steps": 1}, evaluation={"samples": 0}), tmp_path / "plain")
    cases = {
        r"`prompt`, but got none": {"load": text_to_image},
        r"`label` must go with a class-conditional": {"load": text_to_image, "label": 1},
        r"`negative_prompt` must go with guidance": {"load": text_to_image, "prompt": "a", "negative_prompt": "pear"},
        r"at most 12 tokens, but got": {"load": text_to_image, "prompt": "a b c d e f g h i j k l m"},
        r"lora.targets must be ends .* got 'to_x'": {"load": text_to_image, "prompt": "a", "lora": {"targets": ["to_x"]}},
        **{
            f"ends of names of .* got '{target}'; {said}": {"load": text_to_image, "prompt": "a", "lora": {"targets": [target]}}
            for target, said in {"to_out": "did you mean `to_out.0`", "attn2": "valid: ", "norm1": "valid: "}.items()
        },
        r"lora must be a run of ours or a folder": {"load": text_to_image, "prompt": "a", "lora": str(tmp_path)},
        r"`label` from 0 to 2, but got 3": {"load": transformer, "label": 3},
        r"`prompt` must go with a text-to-image": {"load": transformer, "prompt": "a"},
        r"`prompt` must go with a conditional network": {"load": str(tmp_path / "plain"), "prompt": "a"},
        r"`load` must be a run of ours, or a diffusers model": {"load": str(tmp_path)},
    }
    for words, spec in cases.items():
        with pytest.raises(TrainingError, match=words):
            Library().predictor(Model.model_validate(spec))


def large() -> torch.nn.Module:
    class Large(torch.nn.Linear):
        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    return Large(1, 1)


def large_on_the_cpu() -> torch.nn.Module:
    class Large(torch.nn.Linear):
        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            return torch.empty(1 << 55)

    return Large(1, 1)


@pytest.mark.parametrize(("call", "said"), [("large", "CUDA out of memory"), ("large_on_the_cpu", ".*can't allocate memory")])
def test_a_model_whose_first_pass_finds_no_memory_is_told_of_memory_and_not_of_shapes(tmp_path, call, said):
    recipe = digits(model={"unet": None, "call": f"tests.trainer.models.test_build:{call}"})
    with pytest.raises(TrainingError, match=rf"^the model must fit into the memory of a worker, but got `{said}"):
        train(recipe, tmp_path / "a")


def test_models_of_two_spaces_are_not_compared(tmp_path, text_to_image, transformer):
    near = [{"name": "near", "path_kl": {"to": "a"}, "at_most": 1.0}]
    recipe = aligned({"load": text_to_image, "prompt": "a"}, models={"a": {"load": transformer, "label": 0}}, constraints=near)
    with pytest.raises(TrainingError, match=r"one space, but models.a has pixels where the trained model has a latent space"):
        prepared(recipe, tmp_path)


def _small_unet(folder, **schedule):
    torch.manual_seed(0)
    UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8,), norm_num_groups=4,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), add_attention=False,
    ).save_pretrained(folder / "unet")  # fmt: skip
    DDPMScheduler(50, rescale_betas_zero_snr=True, **schedule).save_pretrained(folder / "scheduler")
    return {"unet": None, "load": str(folder)}


def test_a_loaded_model_without_signal_at_its_last_timestep_trains_in_nats(tmp_path):
    model = _small_unet(tmp_path / "m", prediction_type="v_prediction")
    (tmp_path / "m" / "model_index.json").write_text(json.dumps({
        "_class_name": "DDPMPipeline", "unet": ["diffusers", "UNet2DModel"], "scheduler": ["diffusers", "DDPMScheduler"],
    }))  # fmt: skip
    recipe = digits(model=model, train={"steps": 6, "loss_weight": "elbo"}).model_copy(update={"schedule": None})
    result = train(recipe, tmp_path / "a")
    assert result.status != "diverged" and np.isfinite(result.objective)
    for sampler in ("dpmpp_2m", "ddim", "ddpm", "langevin"):
        made = generate(str(result.checkpoint), 2, tmp_path / sampler, sampler=sampler, steps=3, seed=0)
        assert bool(made.isfinite().all())


def test_one_that_predicts_the_noise_there_is_refused_before_training(tmp_path):
    model = _small_unet(tmp_path / "m")
    with pytest.raises(TrainingError, match=r"some signal at every timestep, .* none at timestep 49"):
        prepared(digits(model=model).model_copy(update={"schedule": None}), tmp_path / "a")


def test_more_sampling_steps_than_a_loaded_schedule_has_are_refused_before_training(tmp_path):
    model = _small_unet(tmp_path / "m", prediction_type="v_prediction")
    recipe = digits(model=model, schedule={"timesteps": 60}, evaluation={"sample_steps": 51})
    with pytest.raises(TrainingError, match=r"at most the loaded schedule's 50 timesteps, but got 51; write sample_steps: 50"):
        prepared(recipe.model_copy(update={"schedule": None}), tmp_path / "a")


@pytest.mark.parametrize(("part", "words"), [("vae", "a pipeline's vae must be readable"), ("tokenizer", "must embed texts")])
def test_a_pipeline_with_a_part_that_is_empty_is_refused(tmp_path, text_to_image, part, words):
    shutil.copytree(text_to_image, tmp_path / "pipeline")
    for file in (tmp_path / "pipeline" / part).iterdir():
        file.unlink()
    recipe = digits(model={"unet": None, "load": str(tmp_path / "pipeline"), "prompt": "a red apple"})
    with pytest.raises(TrainingError, match=words):
        prepared(recipe.model_copy(update={"schedule": None}), tmp_path / "a")


def test_a_pipeline_whose_tokenizer_knows_no_longest_text_is_refused_with_the_error_and_its_type(tmp_path, text_to_image):
    shutil.copytree(text_to_image, tmp_path / "pipeline")
    config = tmp_path / "pipeline" / "tokenizer" / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "model_max_length": int(1e30)}))
    recipe = digits(model={"unet": None, "load": str(tmp_path / "pipeline"), "prompt": "a red apple"})
    with pytest.raises(TrainingError, match=r"embed texts, but .* fails with OverflowError: int too big to convert; give"):
        prepared(recipe.model_copy(update={"schedule": None}), tmp_path / "a")


def test_a_hub_that_is_away_is_told_and_not_a_missing_schedule(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(TrainingError, match="but got 'owner/name' \\(the hub cannot be reached, and what it gave before"):
        own_schedule(Model(load="owner/name"))


def test_a_schedule_without_betas_is_refused(tmp_path):
    DDIMScheduler(prediction_type="sample").save_pretrained(str(tmp_path / "scheduler"))
    with pytest.raises(TrainingError, match=r"epsilon or v_prediction, .* has DDIMScheduler with sample"):
        own_schedule(Model(load=str(tmp_path)))


@pytest.mark.parametrize("key, value", [("prompt", "a"), ("label", 1), ("guidance", 2.0), ("lora", {"rank": 2})])
def test_conditions_and_adapters_are_of_loaded_models(key, value):
    with pytest.raises(ValueError, match=f"`{key}` must go with `load`, but got it beside `call`"):
        Model.model_validate({"call": "my_models:build", key: value})
