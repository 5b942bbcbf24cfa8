"""Low-rank adapters through peft, stored in diffusers' layout.

peft and the pipelines bring transformers along, so they are imported where an adapter is used.
"""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

from torch import nn

from dualsweep.trainer.checks.model_files import ADAPTER
from dualsweep.trainer.config.wording import first_line, nearest
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.memory import ran_out
from dualsweep.trainer.models.kinds import TEXT_NETWORKS, is_a
from dualsweep.trainer.models.quiet import quiet_libraries
from dualsweep.trainer.models.text import pipeline_of
from dualsweep.trainer.recipe.model import Lora

_NAME = "default"
#: What peft adapts; a module that holds such layers it refuses.
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Embedding, nn.MultiheadAttention)


def add(network: nn.Module, spec: Lora) -> None:
    """A new adapter, which changes nothing until it is trained; the network's own weights are frozen.

    Raises:
        TrainingError: the network has an adapter already, or no layer of the named ends.
    """
    from peft import LoraConfig

    _refuse_second(network)
    network.requires_grad_(False)
    config = LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,  # type: ignore[arg-type]  # any number does
        target_modules=list(spec.targets),
        init_lora_weights="gaussian",
    )
    for target in spec.targets:
        matched = [each for name, each in network.named_modules() if name == target or name.endswith(f".{target}")]
        if not matched or not all(isinstance(each, _LAYERS) for each in matched):
            ends = sorted({_end(name) for name, each in network.named_modules() if isinstance(each, nn.Linear)})
            raise TrainingError(
                f"lora.targets must be ends of names of the network's layers, but got {target!r}; {nearest(target, ends)}",
                key="lora.targets",
            )
    _inject(network, config)


def _end(name: str) -> str:
    """The end of a layer's name by which it is told from others: `to_q`, `to_out.0`."""
    above, _, last = name.rpartition(".")
    return f"{above.rpartition('.')[2]}.{last}" if last.isdecimal() else last


def load(network: Any, folder: Path, named: str = "") -> None:
    """The adapter that lies in `folder` or is that file, put on the network; errors are about `named`, where it is given.

    Raises:
        TrainingError: there is none, or it does not fit the network.
    """
    _refuse_second(network)
    network.requires_grad_(False)
    (pipeline, part), place = _layout(network), named or str(folder)
    try:
        # With the configuration, adapters of SDXL that other programs wrote are understood too.
        known = {"unet_config": network.config} if is_a(network, "UNet2DConditionModel") else {}
        weights, *alphas, metadata = pipeline.lora_state_dict(str(folder), return_lora_metadata=True, **known)
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"lora must be a run of ours or a folder with {ADAPTER}, but got {place!r} ({first_line(error)}); "
            "give the folder that `save_lora_weights` wrote"
        ) from error
    own = {name.removeprefix(f"{part}."): value for name, value in weights.items() if name.startswith(f"{part}.")}
    if len(own) != len(weights) or not own:
        other = next((name for name in weights if not name.startswith(f"{part}.")), "nothing")
        raise TrainingError(f"lora must adapt the {part} alone, but {place} holds {other}; save that one's adapter apart")
    try:
        if is_a(network, *TEXT_NETWORKS):
            with quiet_libraries():
                network.load_lora_adapter(
                    weights, prefix=part, network_alphas=alphas[0] if alphas else None, adapter_name=_NAME, metadata=metadata
                )
        else:
            _load_plain(network, own, metadata, place)
    except (RuntimeError, ValueError) as error:  # of other shapes, or of no layer that the network has
        if ran_out(error):
            raise
        raise _unfit(place, f"does not: {str(error).rstrip('. ').splitlines()[-1].strip()}") from error
    _check_layers(network, own, place)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_("lora_" in name)


def _load_plain(network: nn.Module, weights: dict[str, Any], metadata: dict[str, Any] | None, place: str) -> None:
    """Loads an adapter onto a network to which diffusers gives none, from the layout that `files` writes."""
    from peft import LoraConfig, set_peft_model_state_dict

    if not metadata:
        raise TrainingError(
            f"lora must tell its rank and alpha for a {type(network).__name__}, but {place} has no such metadata; train it here"
        )
    part = _layout(network)[1]
    _inject(network, LoraConfig(**{name.removeprefix(f"{part}."): value for name, value in metadata.items()}))
    set_peft_model_state_dict(network, weights, adapter_name=_NAME)


def _check_layers(network: nn.Module, weights: dict[str, Any], place: str) -> None:
    """Refuses an adapter of layers that the network lacks: the libraries leave these out."""
    from diffusers.utils import convert_unet_state_dict_to_peft
    from peft import get_peft_model_state_dict

    of_peft = weights if any("lora_A" in name for name in weights) else convert_unet_state_dict_to_peft(weights)
    there = {name.partition(".lora_")[0] for name in get_peft_model_state_dict(network, adapter_name=_NAME)}
    lacking = sorted({name.partition(".lora_")[0] for name in of_peft if ".lora_" in name} - there)
    if lacking:
        raise _unfit(place, f"adapts {lacking[0]}")


def _unfit(place: str, said: str) -> TrainingError:
    return TrainingError(f"lora must fit the network's layers, but {place} {said}; give its own base as `load`")


def _inject(network: Any, config: Any) -> None:
    from peft import inject_adapter_in_model

    inject_adapter_in_model(config, network, adapter_name=_NAME)
    if is_a(network, *TEXT_NETWORKS):
        network._hf_peft_config_loaded = True  # what its own add_adapter notes


def files(network: nn.Module) -> dict[str, bytes]:
    """The adapter as the file that `pipeline.load_lora_weights` reads."""
    from peft import get_peft_model_state_dict

    pipeline, part = _layout(network)
    configs: Any = network.peft_config
    metadata = {key: _plain(value) for key, value in configs[_NAME].to_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        layers = get_peft_model_state_dict(network, adapter_name=_NAME)
        pipeline.save_lora_weights(folder, **{f"{part}_lora_layers": layers, f"{part}_lora_adapter_metadata": metadata})
        return {ADAPTER: (Path(folder) / ADAPTER).read_bytes()}


def merged(network: nn.Module) -> Any:
    """A copy without its adapter, whose product is in the weights instead, W + (alpha / rank) B A; itself where it has none."""
    if not getattr(network, "peft_config", None):
        return network
    from peft.tuners.tuners_utils import BaseTunerLayer

    whole: Any = copy.deepcopy(network)
    for name, layer in list(whole.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            above, _, last = name.rpartition(".")
            setattr(whole.get_submodule(above), last, layer.get_base_layer())
    del whole.peft_config
    if is_a(whole, *TEXT_NETWORKS):
        whole._hf_peft_config_loaded = False
    return whole


def _layout(network: nn.Module) -> tuple[Any, str]:
    """The pipeline in whose layout the network's adapters lie, and the network's name in it; other networks keep to the first."""
    return pipeline_of(network), "transformer" if is_a(network, "SD3Transformer2DModel") else "unet"


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else value


def _refuse_second(network: nn.Module) -> None:
    if getattr(network, "peft_config", None):
        raise TrainingError(
            "lora must be put on a network without an adapter, but got one that has it; drop lora, or load its base"
        )
