"""Models that can't be used are told by their files, with the recipe's line, before anything heavy is imported."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dualsweep.trainer.checks.before_loading import check
from tests.trainer.data.conftest import recipe_of

HEAD = "name: x\nformulation: alignment\ntrain: {steps: 1}\nconstraints: [{name: a, path_kl: {}, at_most: 1.0}]\n"


SCHEDULE = "schedule: {timesteps: 100}\n"


def told(model: str, rest: str = "") -> list[str]:
    return [str(problem) for problem in check(*recipe_of(f"model: {{{model}}}\n{rest}", HEAD))]


def test_good_models_pass(text_to_image: str, transformer: str) -> None:
    assert told(f"load: {text_to_image}, prompt: a, lora: {{rank: 2}}") == []
    assert told(f"load: {transformer}, label: 1", SCHEDULE) == []
    assert told("load: owner/name, prompt: a, lora: owner/adapter") == []
    assert told("load: 's3://bucket/runs/x'") == []


@pytest.mark.parametrize(
    ("model", "key", "words"),
    [
        ("load: {text}", "model.prompt", "must be given for a text-to-image model, but got nothing"),
        ("load: {text}, label: 1", "model.label", "must go with a class-conditional model, but got a UNet2DConditionModel"),
        ("load: {classes}, prompt: a", "model.prompt", "must go with a text-to-image model, but got a DiTTransformer2DModel"),
        ("load: {text}, condition: labels", "model.condition", "must be captions for a text-to-image model, but got labels"),
        ("load: {text}/vae", "model.load", "which holds AutoencoderKL"),
        ("load: {text}/nothing", "model.load", "must be there, but got"),
        ("load: runs/nothing", "model.load", "which is not; first train what makes it, or give a run"),
        ("load: {text}, prompt: a, lora: {text}", "model.lora", "which holds neither"),
    ],
)
def test_what_files_tell(text_to_image: str, transformer: str, model: str, key: str, words: str) -> None:
    problems = told(model.replace("{text}", text_to_image).replace("{classes}", transformer))
    assert any(f" {key}: " in each and words in each for each in problems), problems


def network(folder: Path, weights: tuple[str, ...] = ("diffusion_pytorch_model.safetensors",), **config: object) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"_class_name": "UNet2DModel", **config}))
    for name in weights:
        (folder / name).touch()
    return str(folder)


def test_a_network_without_a_schedule_is_not_given_one(tmp_path: Path) -> None:
    place = network(tmp_path / "pipeline" / "unet")
    for load in (place, str(tmp_path / "pipeline")):
        (problem,) = told(f"load: {load}")
        assert "recipe.yaml:1: schedule: must be given for a network without a schedule of its own" in problem
        assert told(f"load: {load}", SCHEDULE) == []
    (tmp_path / "pipeline" / "scheduler").mkdir()
    (tmp_path / "pipeline" / "scheduler" / "scheduler_config.json").write_text("{}")
    assert told(f"load: {tmp_path}/pipeline") == []


@pytest.mark.parametrize("key", ["class_embed_type", "time_cond_proj_dim", "encoder_hid_dim_type", "addition_embed_type"])
def test_what_nothing_would_give_a_network_is_named(tmp_path: Path, key: str) -> None:
    kind = "UNet2DModel" if key == "class_embed_type" else "UNet2DConditionModel"
    options: Any = {key: "timestep"}
    place = network(tmp_path, _class_name=kind, **options)
    (problem,) = [each for each in told(f"load: {place}", SCHEDULE) if "model.load" in each]
    assert f"with {key} 'timestep', which is not supported" in problem


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ((), "no more than its configuration; give a folder that `save_pretrained` wrote"),
        (("notes.txt",), "with notes.txt; give a folder"),
        (("diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.ema.bin"), "rename that of one variant"),
        (("diffusion_pytorch_model.fp16.safetensors",), None),
        (("diffusion_pytorch_model.bf16.bin",), None),
        (
            (
                "diffusion_pytorch_model-00001-of-00002.fp16.safetensors",
                "diffusion_pytorch_model-00002-of-00002.fp16.safetensors",
            ),
            None,
        ),
        (("diffusion_pytorch_model.bin",), None),
        (("diffusion_pytorch_model.safetensors.index.json", "diffusion_pytorch_model-00001-of-00002.safetensors"), None),
    ],
)
def test_weights_are_found_under_any_name_that_diffusers_gives(
    tmp_path: Path, weights: tuple[str, ...], words: str | None
) -> None:
    found = told(f"load: {network(tmp_path, weights)}", SCHEDULE)
    assert found == [] if words is None else words in found[0] and len(found) == 1


def test_a_variant_alone_is_loaded(tmp_path: Path) -> None:
    import torch
    from diffusers import UNet2DModel

    from dualsweep.trainer.models.networks import Networks
    from dualsweep.trainer.recipe.model import Model

    made = UNet2DModel(
        block_out_channels=(8,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), norm_num_groups=2
    )
    made.half().save_pretrained(tmp_path, variant="fp16")
    assert (tmp_path / "diffusion_pytorch_model.fp16.safetensors").exists()
    found = Networks().trained(Model(load=str(tmp_path)))
    for mine, theirs in zip(found.parameters(), made.parameters(), strict=True):
        assert mine.dtype == torch.float32 and torch.equal(mine, theirs.float())


@pytest.mark.parametrize("key", ["load", "lora"])
def test_a_file_in_place_of_a_folder_is_told(tmp_path: Path, key: str) -> None:
    file = tmp_path / "weights.safetensors"
    file.touch()
    text = f"load: {file}" if key == "load" else f"load: owner/name, prompt: a, lora: {file}"
    (problem,) = told(text)
    assert f" model.{key}: " in problem and f"give its folder, `{tmp_path}`" in problem


@pytest.mark.parametrize(
    "litter", ["step-00000001-backup", "step-00000002.part", "step-final", "step-٣", "step-1", "._step-00000009"]
)
def test_names_that_are_no_checkpoints_are_passed_over(tmp_path: Path, litter: str) -> None:
    from dualsweep.trainer.checkpoint import CheckpointFolder, locate
    from dualsweep.trainer.checks.model_files import complete

    for name in ("step-00000001", litter):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        (tmp_path / "checkpoints" / name / "complete.json").write_text("{}")
    (tmp_path / "checkpoints" / "step-00000003").touch()
    good = tmp_path / "checkpoints" / "step-00000001"
    assert list(complete(tmp_path)) == [good] and locate(str(tmp_path)) == str(good)
    assert CheckpointFolder(str(tmp_path / "checkpoints")).newest() == str(good)


@pytest.mark.parametrize("marker", ["", "{", "[1]", '{"training/weights.safetensors": 3}', '{"state.json": "x"}'])
def test_a_checkpoint_that_was_copied_in_part_is_told(tmp_path: Path, marker: str) -> None:
    from dualsweep.trainer.checkpoint import read
    from dualsweep.trainer.errors import TrainingError

    (tmp_path / "complete.json").write_text(marker)
    with pytest.raises(TrainingError, match="take an earlier one"):
        read(str(tmp_path))


def test_a_frozen_model_has_no_adapter_to_train(text_to_image: str) -> None:
    frozen = f"models: {{a: {{load: {text_to_image}, prompt: a, lora: {{rank: 2}}}}}}\n"
    document = recipe_of(f"model: {{load: {text_to_image}, prompt: a}}\n{frozen}", HEAD)
    assert [str(each) for each in check(*document)] == [
        "recipe.yaml:6: models.a.lora: must say where a trained adapter lies, for a frozen model, but got a new one, "
        "which changes nothing until it is trained; give a run's output, or drop it"
    ]


def test_a_run_without_a_checkpoint_is_told(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "step-00000001").mkdir(parents=True)
    assert "must be a run of ours with a checkpoint" in told(f"load: {tmp_path}")[0]
    (tmp_path / "checkpoints" / "step-00000001" / "complete.json").write_text("{}")
    assert told(f"load: {tmp_path}") == []


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, dualsweep.trainer.checks.model_files; print({'torch', 'numpy', 'diffusers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("part", ["vae", "tokenizer", "text_encoder", "scheduler"])
def test_a_pipeline_without_one_of_its_parts_is_told(text_to_image: str, tmp_path: Path, part: str) -> None:
    shutil.copytree(text_to_image, tmp_path / "pipeline")
    assert told(f"load: {tmp_path}/pipeline, prompt: a") == []
    shutil.rmtree(tmp_path / "pipeline" / part)
    problems = told(f"load: {tmp_path}/pipeline, prompt: a")
    assert any(" model.load: must be a whole pipeline" in x and f"model_index.json names {part}/" in x for x in problems), (
        problems
    )


def test_trajectories_have_no_more_steps_than_a_loaded_schedule(text_to_image: str) -> None:
    total = json.loads((Path(text_to_image) / "scheduler" / "scheduler_config.json").read_text())["num_train_timesteps"]
    assert told(f"load: {text_to_image}, prompt: a", f"rollout: {{steps: {total}}}\n") == []
    [problem] = told(f"load: {text_to_image}, prompt: a", f"rollout: {{steps: {total + 1}}}\n")
    assert f"rollout.steps: must be at most the loaded schedule's timesteps, {total}, but got {total + 1}; lower it" in problem


@pytest.mark.parametrize(
    ("timestep", "says"), [(98, None), (99, "must be below the schedule's noisiest timestep, 99, but got 99")]
)
def test_the_timestep_of_a_kl_is_one_of_the_schedule(timestep: int, says: str | None) -> None:
    head = "name: x\nformulation: composition_and\ntrain: {steps: 1}\nmodels: {a: {load: 's3://b/a'}, b: {load: 's3://b/b'}}\n"
    constraints = f"constraints: [{{name: a, kl: {{to: a, timestep: {timestep}}}}}, {{name: b, kl: {{to: b}}}}]\n"
    text = "model: {load: 's3://b/c'}\ndual: {rule: simplex}\ndata: {source: digits}\n"
    problems = [str(problem) for problem in check(*recipe_of(f"{text}{SCHEDULE}{constraints}", head))]
    assert problems == [] if says is None else len(problems) == 1 and f"constraints.0.kl.timestep: {says}" in problems[0], (
        problems
    )
