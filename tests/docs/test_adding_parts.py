"""CONTRIBUTING's recipes of "Adding a part", walked: files put into a copy of the trainer, no edit elsewhere, and they work.

One copy and one process for all of them, as a process's imports are most of the time. A part is a file, what is checked of it
before anything heavy is imported, and what is then done with it.
"""

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
HEAD = """
import json, sys, tempfile
from pathlib import Path
from dualsweep import trainer
from dualsweep.trainer.checks.before_loading import check
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.config.yaml_file import Document
from dualsweep.trainer.recipe.recipe import Recipe

assert Path(trainer.__file__).resolve().is_relative_to(Path.cwd()), trainer.__file__

def good(recipe):
    if mistakes := check(recipe, Document("", {})):
        raise InputError(mistakes)
    return recipe

def checked(**sections):
    return good(Recipe.model_validate({
        "name": "added", "formulation": "constrained_training", "model": {"call": "small:build"}, "schedule": {"timesteps": 20},
        "data": {"source": "digits"}, "train": {"steps": 3, "batch_size": 16}, **sections,
    }))

def trained(recipe, output):
    import torch
    from dualsweep.trainer.checkpoint import CheckpointFolder
    from dualsweep.trainer.dual.coordinator import InProcess
    from dualsweep.trainer.engine.dual_side import controller_of
    from dualsweep.trainer.engine.host import LocalHost
    from dualsweep.trainer.engine.worker import run_worker

    torch.set_num_threads(1)
    torch.manual_seed(0)
    host = LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(tempfile.mkdtemp()))
    return run_worker(recipe, host, output), host
"""
#: In this order: `check` of all parts, this, then `done` of each with what its check returned. The last line is what they return.
BETWEEN = """
assert not {"torch", "numpy"} & set(sys.modules), "checking input must import nothing heavy"
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

def mirrored():
    import torch

    class Mirrored(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Conv2d(1, 1, 3, padding=1)
            self.field = torch.nn.Parameter(torch.zeros(1, 8, 8))

        def forward(self, x, t):
            return self.layer(x) + self.field * x + self.field.flip(-1) * x.flip(-1)

    return Mirrored()
"""
METRIC = (
    "brightness.py", "trainer/evaluation/shipped",
    """
return checked(evaluation={"samples": 12, "sample_steps": 3, "metrics": ["brightness"], "judge": {"epochs": 1}})
""",
    """
return trained(found, "metric")[0].metrics
""",
)  # fmt: skip
SAMPLER = (
    "heun.py", "trainer/samplers/shipped",
    """
return checked(schedule={"timesteps": 1000, "name": "linear"}, evaluation={"sampler": "heun"})
""",
    """
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
    sampling = found.sampling_by(sampler)._replace(steps=steps)
    return float((sample(Exact(), schedule, range(64), (1,), sampling=sampling, seed=0, batch_size=20) - exact).abs().max())

return [found.sampling.steps, *[error(name, steps) for name in ("heun", "ddim") for steps in (50, 100)]]
""",
)  # fmt: skip
SOURCE = (
    "blobs.py", "trainer/data/sources",
    """
from dualsweep.trainer.checks.findings import data_told
from dualsweep.trainer.data.load import inspect

sections = {
    "data": {"blobs": {"count": 100, "spread": 0.1}, "keep": {2: 0.5}}, "evaluation": {"samples": 0, "loss_draws": 64},
}
rare = {"name": "rare", "data": {"classes": [2]}, "at_most": 10.0}
try:
    checked(**sections, constraints=[rare, {**rare, "name": "none", "data": {"classes": [3]}}])
except InputError as error:
    refused = [str(each) for each in error.diagnostics]
recipe = checked(**sections, constraints=[rare])
return recipe, data_told(recipe.data, inspect(recipe.data)), refused
""",
    """
import numpy as np
from dualsweep.trainer.data.splits import assemble

recipe, said, refused = found
data = assemble(recipe)
everything = data.split.examples
points = everything.fetch(np.arange(100)).double().numpy()
centres = [points[everything.labels == blob].mean(0).tolist() for blob in range(3)]
result, _ = trained(recipe, "source")
return [said, refused, [len(rows) for rows in data.rows], centres, result.constraints["rare"].value]
""",
)  # fmt: skip
RULE = (
    "heavy_ball.py", "trainer/dual/rules",
    """
from dualsweep.trainer.config.yaml_file import parse, validate
from dualsweep.trainer.recipe.dual import Dual

try:
    validate(Dual, parse("rule: heavy_bal\\nmomentum: 1.0", "dual.yaml"))
except InputError as error:
    refused = [str(each) for each in error.diagnostics]
return refused, checked(
    dual={"rule": "heavy_ball", "step_size": 0.25, "momentum": 0.5, "staleness": 0},
    constraints=[
        {"name": "low", "data": {"classes": [4]}, "at_most": 0.2}, {"name": "high", "data": {"classes": [5]}, "at_most": 9.0},
    ],
    train={"steps": 12, "batch_size": 16, "log_every": 1}, evaluation={"samples": 0, "loss_draws": 64},
)
""",
    """
refused, recipe = found
_, host = trained(recipe, "rule")
return [refused, [point["metrics"] for report in host.reports for point in report["points"]]]
""",
)  # fmt: skip
TERM = (
    "asymmetry.py", "trainer/terms/shipped",
    """
return good(Recipe.model_validate({
    "name": "mirror", "formulation": "alignment", "model": {"call": "small:mirrored", "shape": [1, 8, 8]},
    "schedule": {"timesteps": 20},
    "constraints": [{"name": "symmetric", "asymmetry": {"axis": "vertical"}, "at_most": 0.3}],
    "dual": {"step_size": 5.0, "cap": 100.0, "staleness": 0}, "train": {"steps": 150, "lr": 0.03, "ema": 0.9},
    "rollout": {"steps": 5, "batch_size": 32},
    "evaluation": {"samples": 0, "loss_draws": 256},
}))
""",
    """
result, host = trained(found, "term")
first = host.reports[0]["points"][0]["metrics"]["value/symmetric"]
return [first, result.constraints["symmetric"].value, result.constraints["symmetric"].multiplier]
""",
)  # fmt: skip
PARTS = {"metric": METRIC, "sampler": SAMPLER, "source": SOURCE, "rule": RULE, "term": TERM}


def script() -> str:
    """What runs in the copy."""
    text = HEAD
    for name, (*_, check, done) in PARTS.items():
        for signature, body in ((f"check_{name}()", check), (f"done_{name}(found)", done)):
            text += f"def {signature}:\n" + "".join(f"    {line}\n" for line in body.strip("\n").splitlines())
    text += "".join(f"found_{name} = check_{name}()\n" for name in PARTS) + BETWEEN
    return text + "print(json.dumps({" + ", ".join(f'"{name}": done_{name}(found_{name})' for name in PARTS) + "}))\n"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package and of `trainer/`, with the files added."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("dualsweep", "trainer"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "small.py").write_text(SMALL)
    for example, place, *_ in PARTS.values():
        shutil.copy(ROOT / "docs/examples" / example, folder / place / example)
    return folder


@pytest.fixture(scope="module")
def told(copy: Path) -> dict[str, Any]:
    """What was found of each part."""
    done = subprocess.run(
        [sys.executable, "-c", script()], cwd=copy, capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    plain: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return plain


def test_a_metric_is_one_file(copy: Path, told: dict[str, Any]) -> None:
    pixels = np.load(copy / "metric/samples.npy").reshape(12, -1).mean(1, dtype=np.float64)
    assert told["metric"]["eval/brightness"] == pytest.approx(pixels.mean(), rel=1e-9)
    assert told["metric"]["eval/brightness_error"] == pytest.approx(pixels.std(ddof=1) / 12**0.5, rel=1e-9)


def test_a_sampler_is_one_file(told: dict[str, Any]) -> None:
    """On N(1.5, 0.2^2), where the equation's solution is known, beside DDIM, which is of first order."""
    steps, *errors = told["sampler"]
    heun, ddim = errors[:2], errors[2:]
    assert steps == 25 and heun[1] < 0.012
    assert heun[0] > 2.5 * heun[1] and ddim[0] < 2.0 * ddim[1]  # second order falls faster
    assert heun[0] < ddim[0] / 2 and heun[1] < ddim[1] / 3


def test_a_data_source_is_one_file(told: dict[str, Any]) -> None:
    said, refused, rows, centres, value = told["source"]
    assert said == "100 examples, 83 trained on: 0 34, 1 33, 2 16; fewest of 2, 16"
    assert len(refused) == 1 and "constraints.1.data.classes.0: must be a class of the data, but got 3" in refused[0]
    assert rows == [83, 16]
    corners = [[0.6, 0.0], [-0.3, 0.3 * 3**0.5], [-0.3, -0.3 * 3**0.5]]
    assert np.abs(np.array(centres) - corners).max() < 5 * 0.1 / 33**0.5
    assert 0 < value < 10


def test_a_dual_rule_is_one_file(told: dict[str, Any]) -> None:
    """Beside the update written out by hand, on the slacks that the training met."""
    refused, points = told["rule"]
    assert "did you mean `heavy_ball`?" in refused[0] and "momentum: must be less than 1" in refused[1]
    assert len(points) == 13  # the last has the final values
    for name in ("low", "high"):
        velocity = multiplier = 0.0
        for point in points[:12]:
            velocity = 0.5 * velocity - point[f"slack/{name}"]
            multiplier = max(0.0, multiplier + 0.25 * velocity)
            assert point[f"multiplier/{name}"] == pytest.approx(multiplier, rel=1e-12)
    assert points[11]["multiplier/low"] > 1.0 and points[11]["multiplier/high"] == 0.0


def test_a_term_is_one_file(told: dict[str, Any]) -> None:
    before, after, multiplier = told["term"]
    assert after < 0.7 * before and multiplier > 0
