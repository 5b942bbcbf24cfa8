"""What is to happen in a training and comes after its last step: told as a warning, since trainings are shortened to try them."""

from __future__ import annotations

from collections.abc import Iterator

from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.recipe.recipe import Recipe


def length_warnings(recipe: Recipe) -> Iterator[Diagnostic]:
    """Warm-ups that outlast the training, and looks at it that never come."""
    steps, moving = recipe.train.steps, recipe.constraints and recipe.dual.rule != "fixed" and recipe.amortised is None
    if moving and recipe.dual.warmup >= steps:
        received = f"{recipe.dual.warmup} of {steps} steps, so that no multiplier moves"
        yield Diagnostic(("dual", "warmup"), "should end before the training does", received, "lower it, or train longer")
    if recipe.train.lr_warmup >= steps:
        received = f"{recipe.train.lr_warmup} of {steps} steps, so that train.lr is not reached"
        yield Diagnostic(("train", "lr_warmup"), "should end before the training does", received, "lower it, or train longer")
    if recipe.monitor is not None and recipe.monitor.every > steps:
        received = f"{recipe.monitor.every} with {steps} steps, so that none comes"
        yield Diagnostic(("monitor", "every"), "should be at most train.steps", received, "lower it, or train longer")
