"""What a checkpoint holds for diffusers: a pipeline, a network, or an adapter, each with its schedule; or a composition."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import diffusers
from diffusers import DDPMScheduler
from safetensors.torch import save as save_tensors

from dualsweep.trainer.checks.model_files import COMPOSITION, CONDITIONING
from dualsweep.trainer.models import adapters
from dualsweep.trainer.models.composed import Composed
from dualsweep.trainer.models.kinds import is_a
from dualsweep.trainer.models.labels import CAPTIONS, CLASSES
from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.models.text import part_of


def stored_files(predictor: Predictor, schedule: DDPMScheduler) -> dict[str, bytes]:
    """Files by path: `scheduler/`; `unet/` or `transformer/` of a diffusers network, or its adapter alone; the index of a
    pipeline where that is all that the pipeline needs; the weights of a composed model; those of an embedding of multipliers,
    without which the network is the model at multipliers of 0.
    """
    network: Any = predictor.inner
    files: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        schedule.save_pretrained(Path(folder) / "scheduler")
        if isinstance(predictor, Composed):
            files[COMPOSITION] = json.dumps(predictor.shares, indent=2).encode()
        elif predictor.adapted:
            files |= adapters.files(network)
        elif is_a(network, "ModelMixin"):
            network.save_pretrained(Path(folder) / part_of(network), safe_serialization=True, max_shard_size="1TB")
        if predictor.condition is not None and predictor.condition.classes:
            files[CLASSES] = json.dumps(predictor.condition.classes).encode()
        if predictor.of_examples == "captions":
            files[CAPTIONS] = json.dumps(predictor.texts, ensure_ascii=False).encode()
        if predictor.conditioning is not None:
            files[CONDITIONING] = save_tensors({name: each.cpu() for name, each in predictor.conditioning.state_dict().items()})
        if is_a(network, "UNet2DModel") and type(network) is diffusers.UNet2DModel and _unconditional(predictor):
            index = {
                "_class_name": "DDPMPipeline",
                "scheduler": ["diffusers", "DDPMScheduler"],
                "unet": ["diffusers", "UNet2DModel"],
            }
            files["model_index.json"] = json.dumps(index).encode()
        return files | {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def _unconditional(predictor: Predictor) -> bool:
    return not predictor.adapted and predictor.condition is None
