"""[CCA]'s experiments on a text-to-image model of captioned digits, trained here from nothing, and shares as constraints on it.

    python -m tests.benchmarks.bench_captions [--seeds 0 1 2] [--samples 2000] [--output runs/bench-captions] [--only shares …]

`shares`: the other digit in a fifth of the samples of each of two prompts, by dual ascent and by five fixed weights.
`concepts`: a three and a seven in one image by weighing two prompts, against equal weights, either prompt alone and a prompt
that names both. `adapters`: what an adapter for bold strokes and one for sevens agree on, against equal weights. Images are
judged by a network of its own, trained on other pairs of MNIST's digits than the model was. The pretrained model is made
first. Two runs at a time; what has ended is not run again. Exits with 1 where a row fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dualsweep.sweeps.recipes import captioned_digits as made
from dualsweep.trainer.engine.sample_command import draw, find_checkpoint, restore
from dualsweep.trainer.recipe.load import load_recipe
from dualsweep.trainer.result import Result
from tests.benchmarks.common import ROOT, trained
from tests.benchmarks.rows import holds

RECIPES = ROOT / "sweeps/recipes"
THREE, SEVEN = 3, 7
WEIGHTS = (1.0, 2.0, 4.0, 6.0, 8.0)
FIXED = "dual.rule=fixed"
PRETRAINED = "captioned-digits"
#: What is made before the runs of a comparison, once for all seeds: a recipe and what is set over it, by the name of its run.
MADE: dict[str, tuple[str, tuple[str, ...]]] = {
    PRETRAINED: ("captions", ()),
    "captioned-bold-adapter": ("captions-adapter", ()),
    "captioned-seven-adapter": ("captions-adapter", ("objective.data.attributes={seven: true}",)),
}
#: Each comparison's runs: a recipe, and what is set over it.
RUNS: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    "shares": {
        "constrained": ("captions-shares", ()),
        **{f"weight {weight}": ("captions-shares", (FIXED, f"dual.start={weight}")) for weight in WEIGHTS},
    },
    "concepts": {"constrained": ("captions-concepts", ()), "equal weights": ("captions-concepts", (FIXED,))},
    "adapters": {
        "constrained": ("captions-adapters", ()),
        "equal weights": ("captions-adapters", (FIXED,)),
    },
}
#: Prompts of the pretrained model that the compositions are held against.
PROMPTS = {"concepts": ("a three", "a seven", "a three and a seven"), "adapters": ("a three",)}


class Judge(nn.Module):
    """Logits [B, 11] of the ten digits, whether an image has them, and of bold strokes."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 16, 32, 64)
        halving = [layer for a, b in pairwise(widths) for layer in (nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))]
        self.layers = nn.Sequential(*halving, nn.Flatten(), nn.Linear(1024, 128), nn.ReLU(), nn.Linear(128, 11))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


class Made(NamedTuple):
    """A run: its result, and which samples have which of the judge's tags [n, 11]."""

    result: Result
    tags: NDArray[np.bool_]

    def share(self, *tags: int) -> float:
        """Of the samples that have all of these."""
        return float(self.tags[:, list(tags)].all(1).mean())


def tags_of(digits: NDArray[np.int64], bold: NDArray[np.bool_]) -> Tensor:
    tags = torch.zeros(len(digits), 11).scatter(1, torch.as_tensor(digits), 1.0)
    tags[:, made.BOLD] = torch.as_tensor(bold).float()
    return tags


@cache
def judge(output: Path, steps: int = 1500) -> Judge:
    """The network, kept in `output`."""
    torch.manual_seed(0)
    network, file = Judge(), output / "judge.pt"
    if file.exists():
        network.load_state_dict(torch.load(file, weights_only=True))
        return network.eval()
    images, digits, bold = made.pairs(10_000, seed=7)
    tags = tags_of(digits, bold)
    how = made.minimised(network, steps)
    for rows in made.batches(9_000, steps, 64):
        made.step(F.binary_cross_entropy_with_logits(network(images[rows]), tags[rows]), *how)
    with torch.no_grad():
        right = ((network(images[9_000:]) > 0) == (tags[9_000:] > 0.5)).float().mean(0)
    print(f"judge: of new pairs right of {[f'{float(each):.3f}' for each in right]}", flush=True)
    torch.save(network.state_dict(), file)
    return network.eval()


@torch.no_grad()
def judged(samples: Tensor, output: Path) -> NDArray[np.bool_]:
    return np.asarray(torch.cat([judge(output)(part) > 0 for part in samples.float().split(500)]).numpy())


def run(recipe: str, edits: Sequence[str], seed: int, folder: Path, options: argparse.Namespace) -> Made:
    """One training, in the output folder, where its recipe finds the pretrained models as a user's would."""
    torch.set_num_threads(1)
    os.chdir(options.output)
    sets = [*edits, f"seed={seed}", f"evaluation.samples={options.samples}", "evaluation.metrics=[]"]
    result = trained(load_recipe(RECIPES / f"{recipe}.yaml", sets)[0], folder, options.output / "judges")
    return Made(result, judged(torch.from_numpy(np.load(folder / "samples.npy")), options.output))


def prompted(prompt: str, options: argparse.Namespace) -> NDArray[np.bool_]:
    os.chdir(options.output)
    model = restore(find_checkpoint(f"runs/{PRETRAINED}"), prompt=prompt)
    return judged(draw(model, options.samples), options.output)


Runs = Mapping[tuple[str, int], Made]


def shares(runs: Runs, seeds: Sequence[int]) -> list[bool]:
    """Every share met with confidence; the KL below that of the best of the fixed weights that meet both."""
    least = []
    for seed in seeds:
        fixed = [runs[f"weight {weight}", seed].result for weight in WEIGHTS]
        kept = [each.objective for each in fixed if each.feasible == "met"]
        least.append((len(kept), min(kept, default=np.nan)))
    kls = [runs["constrained", seed].result.objective for seed in seeds]
    met = np.mean([runs["constrained", seed].result.feasible == "met" for seed in seeds])
    fewest, best = min(number for number, _ in least), float(np.mean([kl for _, kl in least]))
    return [
        holds("captioned digits, seeds whose shares are met with confidence, share", float(met), ">= 1.0"),
        holds("captioned digits, fixed weights that meet both shares, the fewest of a seed", fewest, ">= 2"),
        holds("captioned digits, KL, of the best fixed weight's", float(np.mean(kls)) / best, "<= 1.0"),
    ]


def concepts(runs: Runs, seeds: Sequence[int]) -> list[bool]:
    return [_beside(runs, seeds, "concepts", (THREE, SEVEN)), _largest(runs, seeds, "concepts")]


def adapters(runs: Runs, seeds: Sequence[int]) -> list[bool]:
    return [_beside(runs, seeds, "adapters", (SEVEN, made.BOLD)), _largest(runs, seeds, "adapters")]


def _beside(runs: Runs, seeds: Sequence[int], what: str, tags: tuple[int, ...]) -> bool:
    of = {way: np.mean([runs[way, seed].share(*tags) for seed in seeds]) for way in RUNS[what]}
    return holds(f"{what}, samples that have both, of equal weights'", float(of["constrained"] / of["equal weights"]), ">= 1.0")


def _largest(runs: Runs, seeds: Sequence[int], what: str) -> bool:
    of = {
        way: np.mean([max(each.value for each in runs[way, seed].result.constraints.values()) for seed in seeds])
        for way in RUNS[what]
    }
    return holds(f"{what}, the larger KL, of equal weights'", float(of["constrained"] / of["equal weights"]), "<= 1.0")


REQUIRED: dict[str, Callable[[Runs, Sequence[int]], list[bool]]] = {"shares": shares, "concepts": concepts, "adapters": adapters}


def told(way: str, seed: int, one: Made) -> str:
    values = {name: f"{each.value:.3f}, λ {each.multiplier:.3f}" for name, each in one.result.constraints.items()}
    return f"seed {seed}, {way}: objective {one.result.objective:.4f}, {values}, {one.result.feasible}; {counted(one.tags)}"


def counted(tags: NDArray[np.bool_]) -> str:
    """The shares of images that have what is asked about; of two prompts in turn, the other digit beside that of each."""
    asked = {"three": [THREE], "seven": [SEVEN], "both": [THREE, SEVEN], "bold": [made.BOLD], "bold seven": [SEVEN, made.BOLD]}
    shown = ", ".join(f"{name} {tags[:, numbers].all(1).mean():.3f}" for name, numbers in asked.items())
    beside = tags[::2, SEVEN].mean(), tags[1::2, THREE].mean()
    return f"{shown}; a seven in every second image {beside[0]:.3f}, a three in the others {beside[1]:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--output", type=Path, default=ROOT / "runs/bench-captions")
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    options = parser.parse_args()
    options.output = options.output.absolute()
    options.output.mkdir(parents=True, exist_ok=True)
    if not (options.output / "captioned-pipeline").exists():
        subprocess.run([sys.executable, str(RECIPES / "captioned_digits.py")], cwd=options.output, check=True)
    judge(options.output)
    kept = []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for name in MADE if "adapters" in options.only else [PRETRAINED]:
            one = pool.submit(run, *MADE[name], 0, options.output / "runs" / name, options).result()
            print(told(name, 0, one), flush=True)
        for what in options.only:
            for prompt in PROMPTS.get(what, ()):
                print(f"{prompt!r}: {counted(pool.submit(prompted, prompt, options).result())}", flush=True)
            asked = {
                (way, seed): pool.submit(run, *how, seed, options.output / f"{what}-{seed}-{way.replace(' ', '-')}", options)
                for seed in options.seeds
                for way, how in RUNS[what].items()
            }
            runs = {key: answer.result() for key, answer in asked.items()}
            print("\n".join(told(*key, one) for key, one in runs.items()), flush=True)
            kept += REQUIRED[what](runs, options.seeds)
    sys.exit(not all(kept))


if __name__ == "__main__":
    main()
