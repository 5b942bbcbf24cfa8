"""What is told of the noise schedule beside a loaded model before anything heavy is imported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from diffusers import DDPMScheduler

from dualsweep.trainer.checks.before_loading import check
from dualsweep.trainer.checks.schedule_files import signal_left
from dualsweep.trainer.recipe.load import load_recipe

RECIPE = """\
name: r
formulation: alignment
model: {load: m, shape: [3, 8, 8]}
constraints:
  - {name: bright, reward: brightness, at_least: 0.5}
dual: {rule: newton}
rollout: {steps: 6, batch_size: 8}
train: {steps: 10}
"""


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "sigmoid"])
@pytest.mark.parametrize("timesteps", [1, 50, 400, 1000])
def test_the_signal_left_is_that_of_diffusers(name: str, timesteps: int) -> None:
    schedule = DDPMScheduler(num_train_timesteps=timesteps, beta_schedule=name, beta_start=0.00085, beta_end=0.012)
    assert signal_left(dict(schedule.config)) == pytest.approx(float(schedule.alphas_cumprod[-1]), rel=1e-4)


@pytest.mark.parametrize(
    ("schedule", "refused"),
    [
        ({"beta_schedule": "linear", "num_train_timesteps": 200}, True),
        ({"beta_schedule": "linear", "num_train_timesteps": 1000}, False),
        ({"beta_schedule": "scaled_linear", "num_train_timesteps": 300}, True),
        ({"beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012}, False),
        ({"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 50}, False),
    ],
)
def test_newton_is_refused_where_a_loaded_schedule_keeps_signal(
    schedule: dict[str, object], refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, content in (("unet", {"_class_name": "UNet2DModel"}), ("scheduler", schedule)):
        (tmp_path / "m" / folder).mkdir(parents=True)
        name = "config.json" if folder == "unet" else "scheduler_config.json"
        (tmp_path / "m" / folder / name).write_text(json.dumps(content))
    (tmp_path / "m" / "unet" / "diffusion_pytorch_model.safetensors").touch()
    (tmp_path / "r.yaml").write_text(RECIPE)
    told = [str(each) for each in check(*load_recipe("r.yaml"))]
    assert [each for each in told if "dual.rule: must not be newton" in each] == (told if refused else [])
    assert bool(told) is refused
