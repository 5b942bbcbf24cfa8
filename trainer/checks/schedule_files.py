"""The noise schedule of a recipe, as far as files tell: which it is, where it comes from, and what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dualsweep.trainer.checks.model_files import NETWORKS, complete, may_be_ours, read_json
from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.recipe.model import Schedule
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.storage import is_local, local_path

#: The file in which diffusers keeps a noise schedule.
SCHEDULE = "scheduler_config.json"
SCHEDULE_REMEDY = (
    "write that which it was trained with, e.g. schedule: {name: linear, timesteps: 1000, prediction: epsilon}, or give the "
    "folder of its pipeline"
)
#: Of a loaded schedule: the most signal with which a chain of few steps still forgets its start, as those of
#: `dualsweep.trainer.recipe.consistency.multipliers.SHORTEST` do.
MOST_SIGNAL = 0.03


def schedule_faults(recipe: Recipe) -> Iterator[Diagnostic]:
    """A loaded network without a noise schedule beside it: the one that it was trained with is not to be guessed."""
    load = recipe.leading.load
    if load is None or recipe.schedule is not None or not is_local(load) or may_be_ours(load):
        return
    folder = local_path(load)
    names = {read_json(folder / each / "config.json").get("_class_name") for each in ("", "unet", "transformer")}
    if not names & set(NETWORKS) or any((folder / each / SCHEDULE).is_file() for each in ("scheduler", "")):
        return
    received = f"none, and no {SCHEDULE} in {show(load)}"
    yield Diagnostic(("schedule",), "must be given for a network without a schedule of its own", received, SCHEDULE_REMEDY)


def newton_faults(recipe: Recipe) -> Iterator[Diagnostic]:
    """A loaded schedule that ends far from pure noise, under `dual.rule: newton`."""
    load = recipe.leading.load
    if load is None or recipe.schedule is not None or recipe.dual.rule != "newton" or not is_local(load):
        return
    left = signal_left(_schedule_beside(local_path(load))[1])
    if left > MOST_SIGNAL:
        received = f"newton with {show(load)}, which has {100 * left:.2g} %, and samples keep a part of what they start from"
        rule = f"must not be newton where the schedule's last timestep has more than {100 * MOST_SIGNAL:g} % of signal"
        yield Diagnostic(("dual", "rule"), rule, received, "write rule: secant, which learns the slope")


def _schedule_beside(folder: Path) -> tuple[Path | None, dict[str, Any]]:
    """The file of the schedule beside a network's weights, or of a run's last checkpoint, and what it holds."""
    own = list(complete(folder))[-1:]
    files = [each / "scheduler" / SCHEDULE for each in own] or [folder / "scheduler" / SCHEDULE, folder / SCHEDULE]
    return next(((each, read_json(each)) for each in files if each.is_file()), (None, {}))


def signal_left(config: Mapping[str, Any]) -> float:
    """The cumulative alpha at the last timestep of a schedule of betas, as diffusers makes them; 0 of those that end in noise."""
    name, count = config.get("beta_schedule"), int(config.get("num_train_timesteps") or 0)
    first, last = float(config.get("beta_start", 1e-4)), float(config.get("beta_end", 0.02))
    if config.get("trained_betas") is not None or config.get("rescale_betas_zero_snr") or count < 1:
        return 0.0
    way = [at / max(count - 1, 1) for at in range(count)]
    if name == "linear":
        betas = [first + (last - first) * at for at in way]
    elif name == "scaled_linear":
        betas = [(first**0.5 + (last**0.5 - first**0.5) * at) ** 2 for at in way]
    elif name == "sigmoid":
        betas = [first + (last - first) / (1 + math.exp(6 - 12 * at)) for at in way]
    else:
        return 0.0
    return math.prod(1 - each for each in betas)


def timesteps_of(recipe: Recipe) -> int | None:
    """The timesteps of the schedule that is trained with; None where only loading it tells."""
    load, given = recipe.leading.load, recipe.schedule
    if given is not None or load is None:
        return (given or Schedule()).timesteps
    count = _schedule_beside(local_path(load))[1].get("num_train_timesteps") if is_local(load) else None
    return count if isinstance(count, int) else None


def chain_faults(recipe: Recipe) -> Iterator[Diagnostic]:
    """More steps of trajectories than a loaded schedule has; of one that the recipe writes its own rules tell."""
    timesteps, steps = timesteps_of(recipe), recipe.rollout.steps
    if timesteps is not None and recipe.schedule is None and recipe.terms_on("rollout") and steps > timesteps:
        rule = f"must be at most the loaded schedule's timesteps, {timesteps}"
        yield Diagnostic(("rollout", "steps"), rule, str(steps), "lower it")


def schedule_told(recipe: Recipe) -> str:
    """Which schedule is trained with, and where it comes from."""
    load, given = recipe.leading.load, recipe.schedule
    if given is not None:
        return f"{_of_recipe(given)}: the recipe's"
    if load is None:
        return f"{_of_recipe(Schedule())}: the default, as the recipe has no `schedule`"
    if not is_local(load):
        return f"that of {load}"
    place, config = _schedule_beside(local_path(load))
    return f"{_of_config(config)}: that of {place}" if place is not None else f"that of {load}, which only loading it tells"


def schedule_warnings(recipe: Recipe) -> Iterator[Diagnostic]:
    """A schedule that the recipe writes for a network that was trained with another."""
    load, given = recipe.leading.load, recipe.schedule
    if load is None or given is None or not is_local(load):
        return
    place, config = _schedule_beside(local_path(load))
    own = _of_config(config)
    if place is not None and "beta_schedule" in config and own != _of_recipe(given):
        received = f"{_of_recipe(given)}, where {place} has {own}"
        yield Diagnostic(("schedule",), "should be that which the model was trained with", received, "drop it, or train for long")


def _of_recipe(spec: Schedule) -> str:
    if spec.name == "edm":
        return _of_edm(spec.edm, spec.timesteps)
    kind = f"flow matching with shift {spec.shift or 1:g}" if spec.prediction == "flow" else spec.name or "squaredcos_cap_v2"
    return _in_words(kind, spec.timesteps, "velocity" if spec.prediction == "flow" else spec.prediction)


def _of_config(config: Mapping[str, Any]) -> str:
    """A scheduler's configuration, as diffusers writes it, in words."""
    if "edm" in config:
        return _of_edm(config["edm"], config.get("num_train_timesteps"))
    kind = config.get("beta_schedule") or config.get("_class_name")
    return _in_words(str(kind), config.get("num_train_timesteps"), config.get("prediction_type") or "epsilon")


def _of_edm(keys: Mapping[str, float], timesteps: object) -> str:
    levels = f"sigma {keys['sigma_min']:g} to {keys['sigma_max']:g}, rho {keys['rho']:g}"
    return f"edm, {timesteps} levels of {levels}, for data of standard deviation {keys['sigma_data']:g}"


def _in_words(kind: str, timesteps: object, prediction: str) -> str:
    return f"{kind}, {timesteps} timesteps, predicts {prediction}"
