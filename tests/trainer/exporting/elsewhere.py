"""Run by a process of its own, in another folder, that can import nothing of this project: loads pipelines and samples them.

Each argument is a folder with `out/`, the pipeline, and `draws.npz`, the noise of our own sampler by number. What comes out is
written beside, as `carried.npy`, as `plain.npy` where diffusers' own class loads it too, and as `lora.npy` where the base of
`lora.json` does with the adapter of a checkpoint.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

ROOMS = ("dualsweep", "trainer", "sweeps", "analysis", "cluster", "tests")


class Refusing:
    """Finds none of our modules, wherever they lie."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ROOMS:
            raise ModuleNotFoundError(f"{name} must not be needed", name=name)


def next_of(draws):
    """In place of diffusers' drawing of noise: these, one after another."""
    remaining = iter(draws)
    return lambda shape, **_: next(remaining)


def images(pipeline, options, noise):
    """The images of a pipeline of diffusers' own, one by one from the noise."""
    pipeline.set_progress_bar_config(disable=True)
    made = [pipeline(**options, latents=each[None], output_type="np").images[0] for each in noise]
    return np.stack(made).transpose(0, 3, 1, 2)


def main(places: list[str]) -> None:
    import torch
    from diffusers import DiffusionPipeline
    from diffusers.utils import logging

    logging.disable_progress_bar()
    torch.set_num_threads(1)
    loaded = []
    for place in places:  # all before any is asked: what one folder holds must not become another's
        out = str(Path(place) / "out")
        loaded.append(DiffusionPipeline.from_pretrained(out, custom_pipeline=out, trust_remote_code=True))
    for place, pipeline in zip(places, loaded, strict=True):
        pipeline.set_progress_bar_config(disable=True)
        with np.load(Path(place) / "draws.npz") as file:
            draws = [torch.from_numpy(file[name]) for name in file.files]
        called = sys.modules[type(pipeline).__module__]
        vars(called)["randn_tensor"] = next_of(draws)
        np.save(Path(place) / "carried.npy", pipeline(len(draws[0]), output_type="pt").images.numpy())
        if not (asked := Path(place) / "plain.json").exists():
            continue
        options = json.loads(asked.read_text())
        plain = DiffusionPipeline.from_pretrained(str(Path(place) / "out"))
        np.save(Path(place) / "plain.npy", images(plain, options, draws[0]))
        if (told := Path(place) / "lora.json").exists():
            lora = json.loads(told.read_text())
            base = DiffusionPipeline.from_pretrained(lora["base"])
            base.scheduler = plain.scheduler
            base.load_lora_weights(
                lora["checkpoint"], weight_name="pytorch_lora_weights.safetensors"
            )  # offline, 0.36 asks for it
            np.save(Path(place) / "lora.npy", images(base, options, draws[0]))
    print(json.dumps(sorted({name.split(".")[0] for name in sys.modules} & set(ROOMS))))


if __name__ == "__main__":
    sys.meta_path.insert(0, Refusing())
    main(sys.argv[1:])
