"""Which looks at a training go with it."""

from __future__ import annotations

import math

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.recipe.fields import RecipeFields


def looks_have_a_point(recipe: RecipeFields) -> None:
    """What a look measures is told with the point of that step, of which a receiver takes one."""
    monitor, period = recipe.monitor, math.lcm(recipe.dual.every, recipe.train.log_every)
    if monitor is not None and monitor.every % period:
        raise RuleError(
            "monitor.every",
            f"must be a multiple of dual.every and of train.log_every, {period}",
            monitor.every,
            f"write {-(-monitor.every // period) * period}",
        )


def bands_have_held_out_data(recipe: RecipeFields) -> None:
    monitor = recipe.monitor
    on_data = any(each.column == 0 for each in recipe.terms_on("data"))
    if monitor is not None and monitor.bands and (recipe.data is None or not recipe.data.holdout or not on_data):
        what = "an objective on other than data" if not on_data else "none held out"
        raise RuleError(
            "monitor.bands", "must go with an objective on data, of which some are held out", what,
            "write data.holdout: 0.1 with an objective on data, or bands: 0",
        )  # fmt: skip


def one_model_is_looked_at(recipe: RecipeFields) -> None:
    if recipe.monitor is not None and recipe.amortised is not None:
        received = "both: the network stands for a model at each multiplier"
        raise RuleError("monitor", "must not stand beside `amortised`", received, "drop one")
