"""The network that judges: small, trained in seconds on data of the digits' size, deterministic with the seed."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dualsweep.trainer.data.examples import InMemory
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.evaluation.images import CHUNK, Images, Integers
from dualsweep.trainer.evaluation.variants import ALONE, Variants, Varied
from dualsweep.trainer.recipe.evaluation import JudgeSpec
from dualsweep.trainer.rng import Stream, generator

BATCH = 128
PEAK_LR = 5e-3
WIDEST = 128
SMALLEST_SIDE = 4


class ConvJudge(nn.Module):
    """A convolutional net for images [C, H, W] of at least 4 x 4, a multilayer perceptron for anything else.

    The features are normalised over their F entries (zero mean, unit variance, no affine part), so that they are of order
    one whatever the data and the length of the training.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, features: int) -> None:
        super().__init__()
        self.shape = shape
        image = len(shape) == 3 and min(shape[1:]) >= SMALLEST_SIDE
        body, width = _convolutions(shape) if image else _perceptron(math.prod(shape))
        self.embedding = nn.Sequential(body, nn.Linear(width, features), nn.LayerNorm(features, elementwise_affine=False))
        self.head = nn.Linear(features, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The logits [B, K] of x [B, *shape]."""
        logits: torch.Tensor = self.head(self.embedding(x))
        return logits

    @torch.no_grad()
    def features(self, x: torch.Tensor) -> torch.Tensor:
        """The embedding [B, F] of x [B, *shape] in [-1, 1], on the device of x."""
        device = self.head.weight.device
        return torch.cat([self.embedding(x[i : i + CHUNK].to(device)) for i in range(0, len(x), CHUNK)]).to(x.device)

    def probabilities(self, x: torch.Tensor) -> torch.Tensor:
        """The class probabilities [B, K] of x [B, *shape] in [-1, 1], on the device of x; differentiable in x."""
        device = self.head.weight.device
        return torch.cat([self(x[i : i + CHUNK].to(device)).softmax(dim=1) for i in range(0, len(x), CHUNK)]).to(x.device)


def _convolutions(shape: tuple[int, ...]) -> tuple[nn.Module, int]:
    """The body for [C, H, W] and its width: halves the sides until the smaller is about 4, then pools to 4 x 4."""
    channels, *sides = shape
    width = 16
    layers = [nn.Conv2d(channels, width, 3, padding=1), nn.GroupNorm(4, width), nn.SiLU()]
    for _ in range(int(math.log2(min(sides) / SMALLEST_SIDE))):
        wider = min(2 * width, WIDEST)
        layers += [nn.Conv2d(width, wider, 3, stride=2, padding=1), nn.GroupNorm(4, wider), nn.SiLU()]
        width = wider
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten()), 16 * width


def _perceptron(size: int) -> tuple[nn.Module, int]:
    hidden = nn.Sequential(nn.Flatten(), nn.Linear(size, WIDEST), nn.SiLU(), nn.Linear(WIDEST, WIDEST), nn.SiLU())
    return hidden, WIDEST


def train_judge(x: torch.Tensor, labels: torch.Tensor, classes: int, spec: JudgeSpec, seed: int) -> ConvJudge:
    """Trains a judge on images x [N, *shape] in [-1, 1] with labels [N] in 0..classes-1, on the device of x.

    Images whose label is -1 have no class and are passed over. On one machine and number of threads a function of its
    arguments alone; the global random state is neither read nor changed.

    Raises:
        ValueError: no labelled image, or a label outside the classes.
        TrainingError: the loss is not finite.
    """
    numbers = labels.detach().cpu().numpy().astype(np.int64)
    return fit(InMemory(x), numbers, tuple(x.shape[1:]), classes, spec, seed, x.device)


def fit(
    images: Images, labels: Integers, shape: tuple[int, ...], classes: int, spec: JudgeSpec, seed: int, device: torch.device,
    variants: Variants = ALONE,
) -> ConvJudge:  # fmt: skip
    """`train_judge` for images that are fetched a batch at a time, each as one of its variants, drawn anew in every epoch."""
    labelled = np.flatnonzero(labels >= 0)
    if not len(labelled) or labels.max() >= classes:
        found = f"labels up to {labels.max()}" if len(labelled) else "none of either"
        raise ValueError(f"a judge needs images with labels in 0..{classes - 1}, but got {found}; fix the data's labels")
    judge = _initial(shape, classes, spec.features, seed).to(device)
    steps = spec.epochs * math.ceil(len(labelled) / BATCH)
    optimiser = torch.optim.AdamW(judge.parameters(), lr=PEAK_LR, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rise_and_fall(step, steps))
    for epoch in range(spec.epochs):
        order = generator(seed, Stream.JUDGE, epoch + 1).permutation(labelled)
        varied = Varied.drawn(images, variants, len(labels), seed, epoch + 1)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            loss = F.cross_entropy(judge(varied.fetch(rows).to(device)), torch.from_numpy(labels[rows]).to(device))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimiser.step()
            schedule.step()
        if not math.isfinite(loss.item()):
            raise TrainingError(f"the judge's loss must be finite, but got {loss.item()} in epoch {epoch}; fix the data")
    return judge.eval()


def _initial(shape: tuple[int, ...], classes: int, features: int, seed: int) -> ConvJudge:
    """The untrained judge, on CPU; its weights are a function of the seed."""
    with torch.random.fork_rng(devices=[]):
        # Only the CPU's generator: torch.manual_seed would seed every GPU's as well, which fork_rng would not restore.
        torch.default_generator.manual_seed(int(generator(seed, Stream.JUDGE).integers(2**63)))
        return ConvJudge(shape, classes, features)


def _rise_and_fall(step: int, steps: int) -> float:
    """The learning rate's factor: linear over the first fifth, then a half cosine down to zero."""
    rise = max(1, steps // 5)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1.0 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))
