"""The guide's term: one file put among the shipped ones, and it trains, is checked and is described like the shipped ones."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CODE = """
import tempfile, torch
from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.engine.worker import run_worker
from dualsweep import trainer

torch.set_num_threads(1)
torch.manual_seed(0)
recipe = Recipe.model_validate({
    "name": "mirror", "formulation": "alignment", "model": {"call": "small:build", "shape": [1, 8, 8]},
    "schedule": {"timesteps": 20},
    "constraints": [{"name": "symmetric", "asymmetry": {"axis": "vertical"}, "at_most": 0.3}],
    "dual": {"step_size": 5.0, "cap": 100.0, "staleness": 0}, "train": {"steps": 150, "lr": 0.03, "ema": 0.9},
    "rollout": {"steps": 5, "batch_size": 32},
    "evaluation": {"samples": 0, "loss_draws": 256},
})
host = LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(tempfile.mkdtemp()))
result = run_worker(recipe, host, tempfile.mkdtemp())
first = host.reports[0]["points"][0]["metrics"]["value/symmetric"]
print(trainer.__file__, first, result.constraints["symmetric"].value, result.constraints["symmetric"].multiplier)
"""
SMALL = """
import torch

class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(1, 1, 3, padding=1)
        self.field = torch.nn.Parameter(torch.zeros(1, 8, 8))

    def forward(self, x, t):
        return self.layer(x) + self.field * x + self.field.flip(-1) * x.flip(-1)

def build():
    return Small()
"""


def test_a_term_is_one_file_and_no_change_elsewhere(tmp_path: Path) -> None:
    for folder in ("dualsweep", "trainer"):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "docs/examples/asymmetry.py", tmp_path / "trainer/terms/shipped/asymmetry.py")
    (tmp_path / "small.py").write_text(SMALL)
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    place, before, after, multiplier = done.stdout.split()
    assert place.startswith(str(tmp_path))
    assert float(after) < 0.7 * float(before) and float(multiplier) > 0
