"""A restored model as a folder that diffusers loads: by a pipeline of its own where it has one, and by `pipeline.py` always."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import nn

from dualsweep.trainer.engine.sample_command import Restored
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.exporting import pipeline as carried
from dualsweep.trainer.exporting.amortised import amortised
from dualsweep.trainer.exporting.asks import Ask, asks_of
from dualsweep.trainer.models.adapters import merged
from dualsweep.trainer.models.composed import Composed
from dualsweep.trainer.models.edm import keys_of
from dualsweep.trainer.models.flow import MARK, is_flow
from dualsweep.trainer.models.kinds import TEXT_NETWORKS, is_a
from dualsweep.trainer.models.loading import pipeline_parts
from dualsweep.trainer.models.preconditioning import preconditioning
from dualsweep.trainer.models.predictor import Condition
from dualsweep.trainer.models.quiet import quiet_libraries
from dualsweep.trainer.models.spaces import Latents
from dualsweep.trainer.models.text import Encoders, part_of, pipeline_of
from dualsweep.trainer.samplers.chains import Chains
from dualsweep.trainer.samplers.recursion import Recursion
from dualsweep.trainer.samplers.registry import SAMPLERS

#: Networks that a folder holds at most: the slots of `pipeline.py`.
MOST_NETWORKS = 8
#: The number of steps of diffusers' DDPMPipeline, which no configuration changes.
_ALL_STEPS = 1000


@dataclass(frozen=True)
class Exported:
    """What was written: the class of diffusers that loads it without `pipeline.py`, None where there is none; how many steps the
    chain has, the prompts, the scale of their guidance and the text that it leads away from, if any, and T; the classes that
    samples may be asked for, and whether guidance leads them; the images' height and width in pixels where that class takes
    others unless it is told.
    """

    pipeline: str | None
    steps: int
    prompts: tuple[str, ...]
    guidance: float
    negative: str | None
    timesteps: int
    classes: tuple[str, ...]
    guided: bool
    size: tuple[int, int] | None


@quiet_libraries()
def write_pipeline(model: Restored, folder: Path) -> Exported:
    """Writes the pipeline of `model` into a folder that is there and empty.

    Raises:
        TrainingError: its sampler has no written form, its networks are not all of diffusers or too many, or its parts have text
            encoders of several pipelines.
    """
    recursion = _recursion(model)
    asks = asks_of(model.predictor, guided=SAMPLERS[model.recipe.sampling.sampler].guided)
    names = _names([ask.model.inner for ask in asks])
    networks = {names[id(each.model.inner)]: _plain(each.model.inner, model.shape) for each in asks}
    text = next((ask.model.condition for ask in asks if ask.model.reads_text), None)
    encoders = _encoders(asks, networks[names[id(asks[0].model.inner)]])
    scheduler = _scheduler(model)
    # `at_once`, samples made together at most, is for whoever asks the pipeline: `sweeps/tracking/exported_model.py`.
    more = {"text": _of_text(text, encoders), "at_once": model.recipe.evaluation.batch_size}
    scheduler.register_to_config(_exported=_written(model, recursion, asks, names) | more)
    given: dict[str, Any] = {**networks, **_parts_of_text(encoders), "scheduler": scheduler}
    if isinstance(model.space, Latents):
        given["vae"] = model.space.vae
    kind = _pipeline_of_diffusers(model, networks)
    if kind is None:
        _save_alone(given, folder)
    else:
        _save_in(kind, given, encoders, folder)
    shutil.copyfile(str(carried.__file__), folder / "pipeline.py")
    return Exported(
        None if kind is None else kind.__name__, len(recursion.moves), text.texts if text is not None else (),
        model.predictor.guidance, text.negative if text is not None else None, model.schedule.config.num_train_timesteps,
        model.predictor.texts if model.predictor.by_label else (), any(ask.by_guidance is not None for ask in asks),
        _size_to_tell(kind, networks, model),
    )  # fmt: skip


def _recursion(model: Restored) -> Recursion:
    sampling = model.recipe.sampling
    sampler = SAMPLERS[sampling.sampler]
    if sampler.written is None:
        raise TrainingError(
            f"a model's sampler must have a form in numbers to be exported, but {sampling.sampler} has none; give it "
            "`written`, as those of trainer/samplers/shipped have, or train with another evaluation.sampler"
        )
    predict = model.predictor.guided if sampler.guided else model.predictor
    prompts = len(model.predictor.texts)
    chains = Chains(model.schedule, sampling, model.recipe.seed, model.shape, torch.device("cpu"), prompts)
    return sampler.written(predict, chains)


def _names(networks: Sequence[nn.Module]) -> dict[int, str]:
    """The slots of the networks, by their `id`: a single one's is its name in its pipeline."""
    distinct = list({id(each): each for each in networks}.values())
    for network in distinct:
        if not is_a(network, "ModelMixin"):
            raise TrainingError(
                f"a model must be of diffusers to be exported, but got a {type(network).__name__} of your own; keep it with its "
                "code: dualsweep sample, or torch.save of its weights"
            )
    if len(distinct) == 1:
        return {id(distinct[0]): part_of(distinct[0])}
    if len(distinct) > MOST_NETWORKS:
        raise TrainingError(
            f"a composed model must have at most {MOST_NETWORKS} networks to be exported, but got {len(distinct)}; prompts "
            "of one network count as one"
        )
    return {id(each): f"network_{number}" for number, each in enumerate(distinct, start=1)}


def _plain(network: Any, shape: tuple[int, ...]) -> Any:
    """The network without an adapter, told the size of the samples, which pipelines of diffusers take from it."""
    whole = merged(network).eval()
    if part_of(whole) == "unet":
        sides, xl = shape[1:], pipeline_of(whole) is diffusers.StableDiffusionXLPipeline
        # SDXL's pipeline takes one number alone.
        whole.register_to_config(sample_size=max(sides) if xl or len(set(sides)) == 1 else list(sides))
    if hasattr(whole.config, "_diffusers_version"):  # the pipeline of Stable Diffusion sets those of old ones to 64
        whole.register_to_config(_diffusers_version=diffusers.__version__)
    return whole


def _size_to_tell(kind: Any, networks: Mapping[str, Any], model: Restored) -> tuple[int, int] | None:
    """The images' height and width in pixels, where the pipeline of diffusers takes another size unless it is told."""
    if kind not in (diffusers.StableDiffusionXLPipeline, diffusers.StableDiffusion3Pipeline):
        return None
    [usual] = [network.config.sample_size for network in networks.values()]
    _, height, width = model.space.decoded(model.shape)
    return None if model.shape[1:] == (usual, usual) else (height, width)


def _encoders(asks: Sequence[Ask], network: Any) -> Any:
    """The pipeline of diffusers that embeds the prompts; None where there are none."""
    places = {str(ask.model.condition.encoders): None for ask in asks if ask.model.condition is not None and ask.model.reads_text}
    if not places:
        return None
    first, *others = places
    if others:
        raise TrainingError(
            f"models that are exported together must share their text encoders, but got those of {first} and {others[0]}; load "
            "their prompts from one pipeline"
        )
    return Encoders().of(first, network, pipeline_parts(first))


def _parts_of_text(encoders: Any) -> dict[str, Any]:
    parts = {} if encoders is None else encoders.components
    return {name: part for name, part in parts.items() if name.startswith(("tokenizer", "text_encoder")) and part is not None}


def _of_text(condition: Condition | None, encoders: Any) -> dict[str, Any] | None:
    if condition is None:
        return None
    return {"pipeline": type(encoders).__name__, "options": _options(encoders), "pixels": condition.pixels}


def _options(encoders: Any) -> dict[str, Any]:
    """What a text pipeline is made with beside its parts."""
    kind = type(encoders).__name__
    if kind == "StableDiffusionXLPipeline":
        return {"force_zeros_for_empty_prompt": bool(encoders.config.force_zeros_for_empty_prompt), "add_watermarker": False}
    return {"requires_safety_checker": False} if kind == "StableDiffusionPipeline" else {}


def _scheduler(model: Restored) -> Any:
    """diffusers' scheduler of the same noise, on the timesteps that samplers here take."""
    schedule, sampling = model.schedule, model.recipe.sampling
    if (keys := keys_of(schedule)) is not None:
        kind = diffusers.EDMDPMSolverMultistepScheduler if sampling.sampler == "dpmpp_2m" else diffusers.EDMEulerScheduler
        taken = {key: keys[key] for key in ("sigma_min", "sigma_max", "sigma_data", "rho")}
        return kind(num_train_timesteps=schedule.config.num_train_timesteps, **taken)
    if is_flow(schedule):
        return diffusers.FlowMatchEulerDiscreteScheduler(schedule.config.num_train_timesteps, shift=schedule.config[MARK])
    if sampling.sampler == "ddpm" and schedule.config.num_train_timesteps == _ALL_STEPS:
        return diffusers.DDPMScheduler.from_config(schedule.config, timestep_spacing="trailing")
    return diffusers.DDIMScheduler.from_config(
        schedule.config, timestep_spacing="trailing", set_alpha_to_one=True, steps_offset=1
    )


def _written(model: Restored, recursion: Recursion, asks: Sequence[Ask], names: Mapping[int, str]) -> dict[str, Any]:
    """What `pipeline.py` samples by, but for `text`."""
    schedule, own, kept = model.schedule, preconditioning(model.schedule), amortised(model)
    numbers = own.T.tolist() if own is not None else None
    return ({"amortised": kept} if kept is not None else {}) | {
        "shape": list(model.shape), "prediction": schedule.config.prediction_type,
        "asked": numbers and [numbers[move.timestep] for move in recursion.moves],
        "steps": [list(each) for each in recursion.moves],
        "clip": recursion.clip, "threshold": recursion.threshold and list(recursion.threshold),
        "asks": [ask.written(names) for ask in asks],
    }  # fmt: skip


def _pipeline_of_diffusers(model: Restored, networks: Mapping[str, Any]) -> Any:
    """The class of diffusers that samples such a model, by a sampler of the same kind; None where there is none.

    What was aligned along its own chain opens by that chain alone, unless it takes text: such pipelines are sampled in many ways.
    """
    if isinstance(model.predictor, Composed):
        return None
    network, latent = next(iter(networks.values())), isinstance(model.space, Latents)
    if network.config.get("out_channels") == 2 * model.shape[0]:
        return None  # it predicts its variance too, of which their schedulers know nothing
    if is_a(network, *TEXT_NETWORKS):
        # Pipelines of transformers don't scale what the network is asked at, those of UNets ask for the noise that a chain begins
        # with, which a scheduler of flow matching does not tell.
        unfit = is_flow(model.schedule) if part_of(network) == "unet" else keys_of(model.schedule) is not None
        return pipeline_of(network) if latent and not unfit else None
    plain = is_a(network, "UNet2DModel") and model.predictor.condition is None and not latent
    if not plain or preconditioning(model.schedule) is not None or not SAMPLERS[model.recipe.sampling.sampler].on_schedule:
        return None
    return diffusers.DDPMPipeline if isinstance(_scheduler(model), diffusers.DDPMScheduler) else diffusers.DDIMPipeline


def _save_in(kind: Any, given: Mapping[str, Any], encoders: Any, folder: Path) -> None:
    others = {} if encoders is None else {**encoders.components, **_options(encoders)}
    kind(**{**others, **given}).save_pretrained(folder)


def _save_alone(given: Mapping[str, Any], folder: Path) -> None:
    """As `pipeline.py` loads it alone."""
    carried.SamplingPipeline(**given).save_pretrained(folder)  # type: ignore[no-untyped-call]
    path = folder / "model_index.json"
    index = {name: each for name, each in json.loads(path.read_text(encoding="utf-8")).items() if each != [None, None]}
    index["_class_name"] = ["pipeline", carried.SamplingPipeline.__name__]
    path.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
