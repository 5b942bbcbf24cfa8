"""The data path beside `torch.utils.data.DataLoader`: a folder of JPEGs at 256², read by as many loader processes.

    python -m tests.benchmarks.bench_data_path [--images 20000] [--rounds 10] [--steps 30] [--loaders 2]

Two figures, on two cores. First images a second with a network so small that loading binds, without constraints and with three
whose multipliers move, against the peer: a DataLoader over the same decoding, with replacement, batch 64, whose batches go as
pixels to the training process and are scaled there into memory that is kept, as ours are. Then one loader and a network that
takes as long as loading: a step beside the larger of the two alone, each measured while another process keeps the other core
busy. Ends with 1 where a ratio's 95 % interval misses its bound or is wider than 2 % to a side.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.data.examples import Examples
from dualsweep.trainer.data.load import load
from dualsweep.trainer.data.readers import FileReader
from dualsweep.trainer.data.scaling import scale_into
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.recipe.data import Data
from dualsweep.trainer.recipe.train import Train
from dualsweep.trainer.sources.mixture_batch import Mixture, Parts, draw, sizes
from dualsweep.trainer.sources.supply import Supply
from dualsweep.trainer.terms.timesteps import Timesteps
from tests.benchmarks.common import digits
from tests.benchmarks.rows import STEPS, Interval

SIDE, BATCH, CLASSES, WARM_UP = 256, 64, 4, 6


def images(folder: Path, number_of: int) -> None:
    """Photo-like JPEGs of four classes: smooth shapes, edges, and the noise of a sensor."""
    rng = np.random.default_rng(0)
    for number in range(number_of):
        smooth = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        pixels = np.asarray(smooth).astype(np.int16) + rng.integers(-6, 7, (SIDE, SIDE, 3), dtype=np.int16)
        place = folder / str(number % CLASSES)
        place.mkdir(exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(place / f"{number:06}.jpg", quality=90)


class Pixels(Dataset[np.ndarray]):
    """The peer's data set."""

    def __init__(self, files: tuple[str, ...]) -> None:
        self.read, self.count = FileReader(files, SIDE, False), len(files)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int) -> np.ndarray:
        return np.ascontiguousarray(self.read(row))


def peer(files: tuple[str, ...], loaders: int) -> Callable[[], Tensor]:
    data = Pixels(files)
    endless = RandomSampler(data, replacement=True, num_samples=10**9)
    batches = iter(DataLoader(data, BATCH, sampler=endless, num_workers=loaders, persistent_workers=True))
    room = np.empty((BATCH, 3, SIDE, SIDE), np.float32)

    def take() -> Tensor:
        for example, pixels in zip(room, next(batches).numpy(), strict=True):
            scale_into(example, pixels)
        return torch.from_numpy(room)

    return take


def ours(examples: Examples, constraints: int, loaders: int) -> tuple[Callable[[], Tensor], Supply]:
    """What a step of the mixture's source draws; with constraints multipliers move by up to 8 % in ten steps."""
    labels = examples.labels
    assert labels is not None
    rows = [np.arange(len(examples)), *(np.flatnonzero(labels == place) for place in range(constraints))]
    columns, train = np.arange(1 + constraints), Train(steps=1, batch_size=BATCH)
    mixture = Mixture(columns, Parts.of(rows), Timesteps(1000), train, 0)
    host = LocalHost(InProcess(controller_of(digits())), CheckpointFolder(tempfile.mkdtemp(prefix="dualsweep-bench-")))
    supply, steps, drawn = Supply(examples, mixture, host, loaders), count(), 0 * columns

    def take() -> Tensor:
        step, first = next(steps), drawn.copy()
        moving = 0.4 * (1 + np.sin(np.arange(constraints) + step / 100))
        weights = np.concatenate([[1.0], moving]) / (1 + moving.sum())
        batch = draw(mixture, sizes(weights, columns, train), first, weights, step)
        drawn[:] = first + np.bincount(batch.part, minlength=len(columns))
        return supply.take(batch, batch.own(0, 1), first)

    return take, supply


def network(width: int) -> Callable[[Tensor], object]:
    """A training step of a network on patches of 16 x 16, which takes longer the wider it is."""
    model = nn.Sequential(nn.Conv2d(3, 8, 16, 16), nn.GELU(), nn.Conv2d(8, width, 1), nn.GELU(), nn.Conv2d(width, 8, 1))
    optimizer = torch.optim.AdamW(model.parameters())

    def step(x: Tensor) -> object:
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        return optimizer.step()

    return step


def timed(step: Callable[[], object], steps: int) -> float:
    """Seconds a step, after what had been read while others were measured is used up."""
    for _ in range(WARM_UP):
        step()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - started) / steps


def _trained(step: Callable[[Tensor], object], take: Callable[[], Tensor]) -> object:
    return step(take())


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Another process computes meanwhile."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        other.kill()
        other.wait()


def throughput(examples: Examples, files: tuple[str, ...], asked: Any) -> list[bool]:
    """Images a second of ours beside the peer's, in turn."""
    other, step, kept = peer(files, asked.loaders), network(8), []
    for constraints in (0, 3):
        take, supply = ours(examples, constraints, asked.loaders)
        cases = {"ours": partial(_trained, step, take), "peer": partial(_trained, step, other)}
        times: dict[str, list[float]] = {name: [] for name in cases}
        for turn in range(asked.rounds):
            for name in sorted(cases, reverse=bool(turn % 2)):
                times[name].append(timed(cases[name], asked.steps))
        supply.close()
        for name, seconds in times.items():
            print(f"m = {constraints}, {name}: {BATCH / statistics.median(seconds):.0f} images a second")
        kept.append(
            Interval.over(times["peer"], times["ours"]).holds(
                f"m = {constraints}: images a second over the peer's", ">= 0.95", STEPS
            )
        )
    return kept


def overlap(examples: Examples, asked: Any) -> bool:
    """A step of one loader and a network that takes as long, beside the larger of the two alone."""
    take, supply = ours(examples, 3, 1)
    x = take().clone()
    with busy():
        loading = timed(take, asked.steps)
        step, alone, width = network(8), 0.0, 8
        while alone < loading:
            width = max(width + 8, int(width * min(2.0, 0.9 * loading / max(alone, 1e-3))))
            step = network(width)
            alone = timed(partial(step, x), 3)
    ratios = []
    for _ in range(asked.rounds):
        with busy():
            loading, alone = timed(take, asked.steps), timed(partial(step, x), asked.steps)
        together = timed(partial(_trained, step, take), asked.steps)
        ratios.append(together / max(loading, alone))
        print(f"loading {1000 * loading:.1f} ms, network {1000 * alone:.1f} ms, together {1000 * together:.1f} ms", flush=True)
    supply.close()
    return Interval.of(ratios).holds("a step over the larger of loading and network", "<= 1.05", STEPS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("images", 20000), ("rounds", 10), ("steps", 30), ("loaders", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="dualsweep-bench-") as place:
        images(Path(place), asked.images)
        examples = load(Data.model_validate({"folder": place, "size": SIDE}))
        files = tuple(sorted(map(str, Path(place).rglob("*.jpg"))))
        return int(not all([*throughput(examples, files, asked), overlap(examples, asked)]))


if __name__ == "__main__":
    sys.exit(main())
