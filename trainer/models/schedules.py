"""Noise schedules: the recipe's, and the one beside a loaded model's weights."""

from __future__ import annotations

import json
from typing import Any

import torch
from diffusers import DDPMScheduler

from dualsweep.trainer.checkpoint import locate
from dualsweep.trainer.checks.schedule_files import SCHEDULE_REMEDY
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.flow import MARK, flow_schedule, is_flow
from dualsweep.trainer.models.spaces import Space
from dualsweep.trainer.recipe.model import Model, Schedule
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.storage import read_file

_PREDICTIONS = ("epsilon", "v_prediction")


def noise_schedule(recipe: Recipe, shape: tuple[int, ...], space: Space | None = None) -> DDPMScheduler:
    """The schedule of the recipe; without one, the loaded model's own, or of a new network the defaults.

    Samples are clipped to [-1, 1] in sampling where they are images; latents and other data have no such range.

    Raises:
        TrainingError: a loaded network has none and the recipe gives none, or it predicts something else than the recipe says.
    """
    latent = space is not None and space.latent
    if recipe.schedule is None and (own := own_schedule(recipe.leading)) is not None:
        return DDPMScheduler.from_config(own.config, clip_sample=False) if latent else own
    if recipe.schedule is None and recipe.leading.load is not None:
        raise TrainingError(
            f"`schedule` must be given for a network without a schedule of its own, but got none for {recipe.leading.load}; "
            f"{SCHEDULE_REMEDY}"
        )
    spec = recipe.schedule or Schedule()
    _check_prediction(recipe.leading, spec)
    clip = len(shape) == 3 and not latent
    if spec.prediction == "flow":
        return flow_schedule(spec.timesteps, spec.shift or 1.0, clip)
    schedule = DDPMScheduler(
        num_train_timesteps=spec.timesteps,
        beta_schedule=spec.name or "squaredcos_cap_v2",
        prediction_type=spec.prediction,
        clip_sample=clip,
        timestep_spacing="trailing",  # sampling starts from pure noise, the schedule's last step (Lin et al. 2024, §3.3)
    )
    return _with_signal(schedule, f"schedule: {in_words(schedule)}")


def _check_prediction(model: Model, spec: Schedule) -> None:
    """Betas may be written anew; what a trained network predicts is what it is."""
    config = _schedule_config(model.load) if model.load is not None else None
    if config is None:
        return
    own = "flow" if _of_flow(config) else config.get("prediction_type", "epsilon")
    if own != spec.prediction:
        raise TrainingError(
            f"schedule.prediction must be what the loaded model predicts, {own}, but got {spec.prediction} for {model.load}; "
            f"write prediction: {own}, or leave `schedule` out"
        )


def _of_flow(config: dict[str, Any]) -> bool:
    return config.get(MARK) is not None or str(config.get("_class_name")).startswith("FlowMatch")


def own_schedule(spec: Model) -> DDPMScheduler | None:
    """The schedule that lies beside a loaded model's weights, if any.

    Raises:
        TrainingError: it is of a kind that no `DDPMScheduler` stands for.
    """
    if spec.load is None:
        return None
    config = _schedule_config(spec.load)
    if config is None:
        return None
    if _of_flow(config) and MARK not in config and not config.get("use_dynamic_shifting"):
        return flow_schedule(config["num_train_timesteps"], float(config.get("shift") or 1.0), clip_sample=False)
    if config.get("prediction_type", "epsilon") not in _PREDICTIONS or "beta_schedule" not in config:
        raise TrainingError(
            f"a loaded model's schedule must be one of betas that predicts {' or '.join(_PREDICTIONS)}, or flow matching without "
            f"dynamic shifting, but {spec.load} has "
            f"{config.get('_class_name')} with {config.get('prediction_type')}; use another model, or write `schedule`"
        )
    return _with_signal(DDPMScheduler.from_config(config), f"model.load: {spec.load}")


def _with_signal(schedule: DDPMScheduler, place: str) -> DDPMScheduler:
    """The schedule, unless its models must find the sample in noise alone (Lin et al. 2024, arXiv 2305.08891, §3.2)."""
    empty = int((schedule.alphas_cumprod <= 0).sum())
    if empty and schedule.config.prediction_type != "v_prediction":
        total = schedule.config.num_train_timesteps
        raise TrainingError(
            f"a model that predicts the noise must have some signal at every timestep, but {place} has none at "
            f"{f'timestep {total - 1}' if empty == 1 else f'timesteps {total - empty} to {total - 1}'} (zero terminal "
            "signal-to-noise ratio), where its prediction tells nothing of the sample; take a model with prediction_type "
            "v_prediction, or write a `schedule` that keeps some"
        )
    return schedule


def same_noise(one: DDPMScheduler, other: DDPMScheduler) -> bool:
    """Whether a timestep means the same noise under both, and a prediction the same."""
    mine, theirs = one.alphas_cumprod, other.alphas_cumprod
    same = len(mine) == len(theirs) and torch.allclose(mine, theirs, rtol=1e-4, atol=1e-6)
    return same and one.config.prediction_type == other.config.prediction_type and is_flow(one) == is_flow(other)


def in_words(schedule: DDPMScheduler) -> str:
    """What a schedule is, for an error."""
    config = schedule.config
    if is_flow(schedule):
        return f"{config.num_train_timesteps} timesteps of flow matching with shift {config[MARK]}"
    return f"{config.num_train_timesteps} timesteps of {config.beta_schedule} with {config.prediction_type}"


def _schedule_config(place: str) -> dict[str, Any] | None:
    checkpoint = locate(place)
    if checkpoint is not None:
        content = read_file(checkpoint, "scheduler/scheduler_config.json")
        return json.loads(content) if content is not None else None
    for where in ({"subfolder": "scheduler"}, {}):
        try:
            config: dict[str, Any] = DDPMScheduler.load_config(place, **where)
            return config
        except (OSError, ValueError):
            continue
    return None
