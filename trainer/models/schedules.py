"""Noise schedules: the recipe's, and the one beside a loaded model's weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler

from dualsweep.trainer.checkpoint import locate
from dualsweep.trainer.checks.schedule_files import SCHEDULE_REMEDY
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models import edm
from dualsweep.trainer.models.flow import MARK, flow_schedule, is_flow
from dualsweep.trainer.models.networks import network_config
from dualsweep.trainer.models.spaces import Space
from dualsweep.trainer.recipe.model import EDM, Model, Schedule
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
        if latent:
            own.register_to_config(clip_sample=False)
        return own
    if recipe.schedule is None and recipe.leading.load is not None:
        raise TrainingError(
            f"`schedule` must be given for a network without a schedule of its own, but got none for {recipe.leading.load}; "
            f"{SCHEDULE_REMEDY}"
        )
    spec = recipe.schedule or Schedule()
    _check_prediction(recipe.leading, spec)
    clip = len(shape) == 3 and not latent
    if spec.name == "edm":
        return edm.edm_schedule(spec.timesteps, spec.edm, clip)
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
    own = "flow" if _of_flow(config) else "edm" if _edm_of(config) is not None else config.get("prediction_type", "epsilon")
    asked = "edm" if spec.name == "edm" else spec.prediction
    if own != asked:
        write = "name: edm" if own == "edm" else f"prediction: {own}"
        raise TrainingError(
            f"schedule.prediction must be what the loaded model predicts, {own}, but got {asked} for {model.load}; "
            f"write {write}, or leave `schedule` out"
        )


def _of_flow(config: dict[str, Any]) -> bool:
    return config.get(MARK) is not None or str(config.get("_class_name")).startswith("FlowMatch")


def _edm_of(config: dict[str, Any]) -> dict[str, float] | None:
    """The keys of a schedule of EDM, ours or of diffusers; None of others, and of those whose levels or signs are others."""
    if edm.MARK in config:
        return dict(config[edm.MARK])
    plain = (config.get("sigma_schedule", "karras"), config.get("prediction_type", "epsilon")) == ("karras", "epsilon")
    if not str(config.get("_class_name")).startswith("EDM") or not plain:
        return None
    return {key: float(config.get(key, other)) for key, other in EDM.items()}


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
    if (keys := _edm_of(config)) is not None:
        return edm.edm_schedule(config["num_train_timesteps"], keys, bool(config.get("clip_sample", False)))
    if config.get("prediction_type", "epsilon") not in _PREDICTIONS or "beta_schedule" not in config:
        raise TrainingError(
            f"a loaded model's schedule must be one of betas that predicts {' or '.join(_PREDICTIONS)}, flow matching without "
            f"dynamic shifting, or EDM with levels by rho and prediction_type epsilon, but {spec.load} has "
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
    data = [(edm.keys_of(each) or {}).get("sigma_data") for each in (one, other)]
    alike = is_flow(one) == is_flow(other) and data[0] == data[1]
    return same and one.config.prediction_type == other.config.prediction_type and alike


def in_words(schedule: DDPMScheduler) -> str:
    """What a schedule is, for an error."""
    config = schedule.config
    if (keys := edm.keys_of(schedule)) is not None:
        return f"{config.num_train_timesteps} levels of EDM with {', '.join(f'{key} {keys[key]:g}' for key in EDM)}"
    if is_flow(schedule):
        return f"{config.num_train_timesteps} timesteps of flow matching with shift {config[MARK]}"
    return f"{config.num_train_timesteps} timesteps of {config.beta_schedule} with {config.prediction_type}"


def _schedule_config(place: str) -> dict[str, Any] | None:
    checkpoint = locate(place)
    if checkpoint is not None:
        content = read_file(checkpoint, "scheduler/scheduler_config.json")
        return json.loads(content) if content is not None else None
    if not Path(place).is_dir():
        network_config(place)  # where the hub holds no such model that is to be told, and not that it has no schedule
    for where in ({"subfolder": "scheduler"}, {}):
        try:
            config: dict[str, Any] = DDPMScheduler.load_config(place, **where)
            return config
        except (OSError, ValueError):
            continue
    return None
