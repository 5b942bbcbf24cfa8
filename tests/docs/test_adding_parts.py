"""CONTRIBUTING's recipes of "Adding a part", walked: one file put into a copy of the trainer, no edit elsewhere, and it works."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent.parent
#: What each test runs in the copy starts with this; what it finds is the last line that it prints.
HEAD = """
import json, sys, tempfile
from pathlib import Path
from dualsweep import trainer
from dualsweep.trainer.checks.recipe import check_recipe
from dualsweep.trainer.recipe.recipe import Recipe

assert Path(trainer.__file__).resolve().is_relative_to(Path.cwd()), trainer.__file__

def checked(**sections):
    recipe = Recipe.model_validate({
        "name": "added", "formulation": "constrained_training", "model": {"call": "small:build"}, "schedule": {"timesteps": 20},
        "data": {"source": "digits"}, "train": {"steps": 3, "batch_size": 16}, **sections,
    })
    check_recipe(recipe)
    assert not {"torch", "numpy"} & set(sys.modules), "checking input must import nothing heavy"
    return recipe

def trained(recipe):
    import torch
    from dualsweep.trainer.checkpoint import CheckpointFolder
    from dualsweep.trainer.dual.coordinator import InProcess
    from dualsweep.trainer.engine.dual_side import controller_of
    from dualsweep.trainer.engine.host import LocalHost
    from dualsweep.trainer.engine.worker import run_worker

    torch.set_num_threads(1)
    host = LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(tempfile.mkdtemp()))
    return run_worker(recipe, host, "out"), host
"""
SMALL = """
def build():
    import torch

    class Small(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x, t):
            return self.scale * x

    return Small()
"""


class Copy:
    """A copy of the package and of `trainer/`, to which one file is added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("dualsweep", "trainer"):
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "small.py").write_text(SMALL)

    def add(self, example: str, place: str) -> None:
        shutil.copy(ROOT / "docs/examples" / example, self.folder / place / example)

    def run(self, code: str) -> Any:
        """What `code` prints last, as JSON."""
        done = subprocess.run(
            [sys.executable, "-c", HEAD + code], cwd=self.folder, capture_output=True, text=True, check=False,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(self.folder), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_a_metric_is_one_file(copy: Copy) -> None:
    copy.add("brightness.py", "trainer/evaluation/shipped")
    told = copy.run("""
result, _ = trained(checked(evaluation={"samples": 12, "sample_steps": 3, "metrics": ["brightness"], "judge": {"epochs": 1}}))
print(json.dumps(result.metrics))
""")
    pixels = np.load(copy.folder / "out/samples.npy").reshape(12, -1).mean(1, dtype=np.float64)
    assert told["eval/brightness"] == pytest.approx(pixels.mean(), rel=1e-9)
    assert told["eval/brightness_error"] == pytest.approx(pixels.std(ddof=1) / 12**0.5, rel=1e-9)


def test_a_sampler_is_one_file(copy: Copy) -> None:
    """On N(1.5, 0.2^2), where the equation's solution is known, beside DDIM, which is of first order."""
    copy.add("heun.py", "trainer/samplers/shipped")
    told = copy.run("""
recipe = checked(schedule={"timesteps": 1000, "name": "linear"}, evaluation={"sampler": "heun"})
import torch
from diffusers import DDPMScheduler
from dualsweep.trainer.rng import Stream, normals
from dualsweep.trainer.samplers.sampling import sample

schedule = DDPMScheduler(1000, beta_schedule="linear", clip_sample=False)
signal, (mean, sd) = schedule.alphas_cumprod.double(), (1.5, 0.2)

class Exact(torch.nn.Module):
    def forward(self, x, t):
        a = signal[t][:, None]
        return (1 - a).sqrt() * (x.double() - a.sqrt() * mean) / (a * sd**2 + 1 - a)

start, last = normals(0, Stream.SAMPLING, 0, range(64), (1,)).double(), signal[-1]
exact = mean + sd * (start - last.sqrt() * mean) / (last * sd**2 + 1 - last).sqrt()

def error(sampler, steps):
    sampling = recipe.sampling_by(sampler)._replace(steps=steps)
    return float((sample(Exact(), schedule, range(64), (1,), sampling=sampling, seed=0, batch_size=20) - exact).abs().max())

print(json.dumps([recipe.sampling.steps, *[error(name, steps) for name in ("heun", "ddim") for steps in (50, 100)]]))
""")
    steps, *errors = told
    heun, ddim = errors[:2], errors[2:]
    assert steps == 25 and heun[1] < 0.012
    assert heun[0] > 2.5 * heun[1] and ddim[0] < 2.0 * ddim[1]  # second order falls faster
    assert heun[0] < ddim[0] / 2 and heun[1] < ddim[1] / 3


def test_a_data_source_is_one_file(copy: Copy) -> None:
    copy.add("blobs.py", "trainer/data/sources")
    told = copy.run("""
from dualsweep.trainer.checks.before_loading import summary
from dualsweep.trainer.config.diagnostics import InputError

sections = {
    "data": {"blobs": {"count": 100, "spread": 0.1}, "keep": {2: 0.5}}, "evaluation": {"samples": 0, "loss_draws": 64},
}
rare = {"name": "rare", "data": {"classes": [2]}, "at_most": 10.0}
try:
    checked(**sections, constraints=[rare, {**rare, "name": "none", "data": {"classes": [3]}}])
except InputError as error:
    refused = [str(each) for each in error.diagnostics]
recipe = checked(**sections, constraints=[rare])
said = summary(recipe.data)

import numpy as np
from dualsweep.trainer.data.splits import assemble

data = assemble(recipe)
everything = data.split.examples
points = everything.fetch(np.arange(100)).double().numpy()
centres = [points[everything.labels == blob].mean(0).tolist() for blob in range(3)]
result, _ = trained(recipe)
print(json.dumps([said, refused, [len(rows) for rows in data.rows], centres, result.constraints["rare"].value]))
""")
    said, refused, rows, centres, value = told
    assert said == "100 examples, 83 trained on: 0 34, 1 33, 2 16"
    assert len(refused) == 1 and "constraints.1.data.classes.0: must be a class of the data, but got 3" in refused[0]
    assert rows == [83, 16]
    corners = [[0.6, 0.0], [-0.3, 0.3 * 3**0.5], [-0.3, -0.3 * 3**0.5]]
    assert np.abs(np.array(centres) - corners).max() < 5 * 0.1 / 33**0.5
    assert 0 < value < 10


def test_a_dual_rule_is_one_file(copy: Copy) -> None:
    """Beside the update written out by hand, on the slacks that the training met."""
    copy.add("heavy_ball.py", "trainer/dual/rules")
    told = copy.run("""
from dualsweep.trainer.config.yaml_file import parse, validate
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.recipe.dual import Dual

try:
    validate(Dual, parse("rule: heavy_bal\\nmomentum: 1.0", "dual.yaml"))
except InputError as error:
    refused = [str(each) for each in error.diagnostics]
recipe = checked(
    dual={"rule": "heavy_ball", "step_size": 0.25, "momentum": 0.5, "staleness": 0},
    constraints=[
        {"name": "low", "data": {"classes": [4]}, "at_most": 0.2}, {"name": "high", "data": {"classes": [5]}, "at_most": 9.0},
    ],
    train={"steps": 12, "batch_size": 16, "log_every": 1}, evaluation={"samples": 0, "loss_draws": 64},
)
_, host = trained(recipe)
points = [point["metrics"] for report in host.reports for point in report["points"]]
print(json.dumps([refused, points]))
""")
    refused, points = told
    assert "did you mean `heavy_ball`?" in refused[0] and "momentum: must be less than 1" in refused[1]
    assert len(points) == 13  # the last has the final values
    for name in ("low", "high"):
        velocity = multiplier = 0.0
        for point in points[:12]:
            velocity = 0.5 * velocity - point[f"slack/{name}"]
            multiplier = max(0.0, multiplier + 0.25 * velocity)
            assert point[f"multiplier/{name}"] == pytest.approx(multiplier, rel=1e-12)
    assert points[11]["multiplier/low"] > 1.0 and points[11]["multiplier/high"] == 0.0
