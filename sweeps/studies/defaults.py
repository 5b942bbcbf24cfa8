"""What the keys that a recipe leaves out come to, where versions differ: a continued sweep is told what has changed.

A study keeps them beside its fingerprint, which leaves defaults out. One without them is of 0.1, whose own are here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dualsweep.sweeps.planning.plan import Plan
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.metric_names import EVALUATION
from dualsweep.trainer.recipe.model import Schedule

DEFAULTS = "dualsweep.defaults"
_SAMPLER, _STEPS, _SCALE = "evaluation.sampler", "evaluation.sample_steps", "rollout.normalization_samples"
_FRECHET = f"{EVALUATION}frechet"


def defaults(plan: Plan) -> dict[str, Any]:
    """What this version takes for keys that the recipe leaves out and that its figures depend on, by their dotted names."""
    recipe, chosen = plan.recipe, dict[str, Any]()
    sampling = recipe.sampling
    if recipe.evaluation.samples and recipe.evaluation.sampler is None and sampling.sampler == "dpmpp_2m":
        chosen[_SAMPLER] = sampling.sampler
        if recipe.evaluation.sample_steps is None:
            chosen[_STEPS] = sampling.steps
    normalised = recipe.rollout.normalize and any(each.column and each.term.normalised for each in recipe.terms)
    if normalised and recipe.rollout.normalization_samples is None:
        chosen[_SCALE] = recipe.normalization_samples
    return chosen


def defaults_of_0_1(plan: Plan) -> dict[str, Any]:
    """What 0.1 took for keys that decide what `defaults` does, whether the recipe leaves them out or not."""
    timesteps = (plan.recipe.schedule or Schedule()).timesteps
    return {_SAMPLER: "ddim", _STEPS: min(50, timesteps), _SCALE: 1024}


def changed(plan: Plan, kept: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What has changed since the sweep began with the defaults `kept` (None: by 0.1), as one warning; none where nothing has."""
    before = defaults_of_0_1(plan) if kept is None else kept
    changes = [(key, before[key], now) for key, now in defaults(plan).items() if key in before and before[key] != now]
    said = [f"`{key}` was {show(was)} by default and is {show(now)}" for key, was, now in changes]
    if kept is None and any(each.startswith(_FRECHET) for each in plan.objectives):
        said.append(f"`{_FRECHET}` was told with its bias and is told without")
    if not said:
        return ()
    back = ", ".join(f"`{key}: {show(was)}`" for key, was, _ in changes)
    way_out = f"write {back} into the recipe, or give another `--output`" if back else "give another `--output`"
    return (f"warning: figures of new trials must not be compared with those of the first: {'; '.join(said)}; {way_out}",)
