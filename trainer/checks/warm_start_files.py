"""What a run may start from: what can be told by the files alone, and whether two recipes pose one problem."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from dualsweep.trainer.checks.model_files import complete, read_json
from dualsweep.trainer.config import yaml_core
from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.recipe.bound import KEYS
from dualsweep.trainer.recipe.model import Lora, Schedule
from dualsweep.trainer.recipe.recipe import Recipe, flatten
from dualsweep.trainer.storage import MARKER, is_local, local_path

#: Sections that say how a problem is solved, judged and kept, not which; of them these keys are of the problem all the same.
_HOW = ("name", "seed", "dual", "train", "evaluation", "feasibility", "resources", "checkpoint", "start")
_OF_THE_PROBLEM = ("dual.alpha", "train.loss_weight")


def other_problem(one: Recipe, other: Recipe) -> str | None:
    """The first key in which two recipes pose different problems to different networks; None where they differ in the budgets
    of their constraints and in how they are trained and judged alone. The multipliers of one are then on the front of the other.
    """
    mine, theirs = _problem(one), _problem(other)
    return next((key for key in [*mine, *theirs] if key not in mine or key not in theirs or mine[key] != theirs[key]), None)


def _problem(recipe: Recipe) -> dict[str, Any]:
    flat = flatten(recipe)
    budgets = {f"constraints.{each.name}.{word}" for each in recipe.constraints for word in KEYS if word == each.kind}
    kept = {key: value for key, value in flat.items() if key.partition(".")[0] not in _HOW or key in _OF_THE_PROBLEM}
    return {key: value for key, value in kept.items() if key not in budgets}


def start_faults(recipe: Recipe) -> Iterator[Diagnostic]:
    """What a local checkpoint's files say against starting from it as the recipe asks."""
    if recipe.start is None or not is_local(recipe.start.place):
        return
    place, keys = recipe.start.place, ("start", "from")
    checkpoints = list(complete(local_path(place))) if local_path(place).is_dir() else []
    if not checkpoints:
        what = "which holds no complete one" if local_path(place).exists() else "which is not there"
        remedy = "give another, or drop `start`"
        yield Diagnostic(keys, "must be a run's output or a checkpoint of ours", f"{show(place)}, {what}", remedy)
        return
    written = read_json(checkpoints[-1] / MARKER)
    if "training/weights.safetensors" in written and "training/optimizer.safetensors" not in written:
        received = f"{show(place)}, which an older version wrote without it"
        yield Diagnostic(keys, "must hold the optimiser's state", received, f"take its weights alone by model: {{load: {place}}}")
    yield from _recipe_faults(recipe, _recipe(checkpoints[-1]))


def _recipe(checkpoint: Path) -> dict[str, Any]:
    """The recipe of a checkpoint as plain data: one of another version need not be valid here."""
    try:
        plain = yaml_core.read((checkpoint / "recipe.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return plain if isinstance(plain, dict) else {}


def _recipe_faults(recipe: Recipe, theirs: dict[str, Any]) -> Iterator[Diagnostic]:
    assert recipe.start is not None
    if not theirs:
        return
    unet, other = recipe.model.unet, (theirs.get("model") or {}).get("unet")
    if unet is not None and isinstance(other, dict):
        for key, value in unet.model_dump(exclude={"dropout"}).items():
            if key in other and other[key] != value:
                received, remedy = (
                    f"{show(other[key])} there, where this recipe has {show(value)}",
                    f"make model.unet.{key} alike",
                )
                yield Diagnostic(("start", "from"), f"must hold this recipe's architecture, with its {key}", received, remedy)
    prediction = (theirs.get("schedule") or {}).get("prediction")
    if prediction is not None and recipe.model.load is None and prediction != (recipe.schedule or Schedule()).prediction:
        received = f"{prediction} there, where this recipe has {(recipe.schedule or Schedule()).prediction}"
        yield Diagnostic(
            ("start", "from"), "must hold a model that predicts the same", received, f"write prediction: {prediction}"
        )
    yield from _noise_faults(recipe, theirs)
    yield from _network_faults(recipe, theirs)
    names = [str(each.get("name")) for each in theirs.get("constraints") or []]
    missing = [each.name for each in recipe.constraints if each.name not in (*names, *recipe.start.multipliers)]
    if missing and recipe.dual.rule != "fixed" and recipe.amortised is None:  # of which none starts anywhere
        received = f"none for {', '.join(missing)}, where that run has {', '.join(names) or 'no constraints'}"
        rule = "must give a multiplier for each constraint that its run has not"
        yield Diagnostic(("start",), rule, received, f"write multipliers: {{{missing[0]}: 0.0}}")


def _noise_faults(recipe: Recipe, theirs: dict[str, Any]) -> Iterator[Diagnostic]:
    """Where neither run has its noise schedule from a model that it loads."""
    if recipe.model.load is not None or (theirs.get("model") or {}).get("load") is not None:
        return
    try:
        other = Schedule.model_validate(theirs.get("schedule") or {})
    except ValueError:  # of another version
        return
    mine = recipe.schedule or Schedule()
    if mine.prediction != other.prediction:  # which is told already
        return
    here, there = _noise(mine), _noise(other)
    for key in dict.fromkeys([*here, *there]):
        if here.get(key) != there.get(key):
            values = ("none" if each is None else show(each) for each in (there.get(key), here.get(key)))
            received = f"{key} {next(values)} there, where this recipe has {next(values)}"
            remedy = f"make schedule.{key} alike, or drop `start`"
            yield Diagnostic(("start", "from"), "must hold a model of this recipe's noise schedule", received, remedy)


def _noise(schedule: Schedule) -> dict[str, Any]:
    """What a timestep's noise depends on, with what is meant by keys that are left out."""
    if schedule.prediction == "flow":
        return {"timesteps": schedule.timesteps, "shift": 1.0 if schedule.shift is None else schedule.shift}
    own = {key: value for key, value in schedule.edm.items() if not key.startswith("p_")} if schedule.name == "edm" else {}
    return {"name": schedule.name or "squaredcos_cap_v2", "timesteps": schedule.timesteps, **own}


def _network_faults(recipe: Recipe, theirs: dict[str, Any]) -> Iterator[Diagnostic]:
    """What is added to a network: an embedding of multipliers, and a low-rank adapter."""
    assert recipe.start is not None
    model = theirs.get("model") or {}
    added = {
        "amortised": (recipe.amortised is not None, theirs.get("amortised") is not None),
        "model.lora": (isinstance(recipe.model.lora, Lora), isinstance(model.get("lora"), dict)),
    }
    for key, (mine, other) in added.items():
        if mine != other:
            received = f"{'one' if other else 'none'} there, where this recipe has {'one' if mine else 'none'}"
            remedy = f"{'drop' if mine else 'write'} {key}, or take its weights alone by model: {{load: {recipe.start.place}}}"
            yield Diagnostic(("start", "from"), f"must hold a run with `{key}` where this recipe has it", received, remedy)
