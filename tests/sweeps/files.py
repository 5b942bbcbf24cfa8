"""A recipe and a sweep over it, to be written out and varied by the tests of this room."""

from __future__ import annotations

from pathlib import Path

from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.planning.plan import Plan

RECIPE = """\
name: digits-minority
formulation: constrained_training
model: {unet: {channels: [16, 32]}}
data: {source: digits, keep: {4: 0.1, 5: 0.1}}
constraints:
  - {name: four, data: {classes: [4]}, at_most: 0.12}
  - {name: five, data: {classes: [5]}, at_most: 0.12}
train: {steps: 1500, batch_size: 64, lr: 2.0e-3}
"""

SWEEP = """\
name: digits-minority
recipe: recipe.yaml
search:
  dual.step_size: {log_uniform: [0.003, 0.3]}
  constraints.[*].at_most: {uniform: [0.08, 0.25]}
trials: 12
"""


def write(folder: Path, sweep: str = SWEEP, recipe: str | None = RECIPE) -> Path:
    """Writes both files and returns the sweep's path."""
    if recipe is not None:
        (folder / "recipe.yaml").write_text(recipe)
    (folder / "sweep.yaml").write_text(sweep)
    return folder / "sweep.yaml"


def plan(folder: Path, *overrides: str, sweep: str = SWEEP) -> Plan:
    return load_plan(write(folder, sweep), overrides)
