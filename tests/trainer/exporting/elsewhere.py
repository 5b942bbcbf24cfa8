"""Run by a process of its own, in another folder, that can import nothing of this project: loads pipelines and samples them.

Each argument is a folder with `out/`, the pipeline, and `draws.npz`, the noise of our own sampler by number. What comes out is
written beside, as `carried.npy`, and as `plain.npy` where diffusers' own class loads it too.
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
        if (asked := Path(place) / "plain.json").exists():
            plain = DiffusionPipeline.from_pretrained(str(Path(place) / "out"))
            plain.set_progress_bar_config(disable=True)
            options = json.loads(asked.read_text())
            images = [plain(**options, latents=noise[None], output_type="np").images[0] for noise in draws[0]]
            np.save(Path(place) / "plain.npy", np.stack(images).transpose(0, 3, 1, 2))
    print(json.dumps(sorted({name.split(".")[0] for name in sys.modules} & set(ROOMS))))


if __name__ == "__main__":
    sys.meta_path.insert(0, Refusing())
    main(sys.argv[1:])
