"""Models that can't be used are told by their files, with the recipe's line, before anything heavy is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.trainer.data.conftest import recipe_of
from trainer.data.outline import check

HEAD = "name: x\nformulation: alignment\ntrain: {steps: 1}\nconstraints: [{name: a, path_kl: {}, at_most: 1.0}]\n"


def told(model: str) -> list[str]:
    return [str(problem) for problem in check(*recipe_of(f"model: {{{model}}}\n", HEAD))]


def test_good_models_pass(text_to_image: str, transformer: str) -> None:
    assert told(f"load: {text_to_image}, prompt: a, lora: {{rank: 2}}") == []
    assert told(f"load: {transformer}, label: 1") == []
    assert told("load: owner/name, prompt: a, lora: owner/adapter") == []
    assert told("load: 's3://bucket/runs/x'") == []


@pytest.mark.parametrize(
    ("model", "key", "words"),
    [
        ("load: {text}", "model.prompt", "must be given for a text-to-image model, but got nothing"),
        ("load: {text}, label: 1", "model.label", "must go with a class-conditional model, but got a UNet2DConditionModel"),
        ("load: {classes}, prompt: a", "model.prompt", "must go with a text-to-image model, but got a DiTTransformer2DModel"),
        ("load: {text}/vae", "model.load", "which holds AutoencoderKL"),
        ("load: {text}/nothing", "model.load", "must be there, but got"),
        ("load: {text}, prompt: a, lora: {text}", "model.lora", "which holds neither"),
    ],
)
def test_what_files_tell(text_to_image: str, transformer: str, model: str, key: str, words: str) -> None:
    problems = told(model.replace("{text}", text_to_image).replace("{classes}", transformer))
    assert any(f" {key}: " in each and words in each for each in problems), problems


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
    code = "import sys, trainer.models.loadable; print([m for m in ('torch', 'numpy', 'diffusers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert done.stdout.strip() == "[]"
