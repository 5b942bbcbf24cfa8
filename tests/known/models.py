"""Models whose distributions are known: exact predictors of the noise, with few parameters to train. For `model: {call: …}`."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from dualsweep.trainer.models.schedules import noise_schedule
from dualsweep.trainer.recipe.recipe import Recipe

T = 100
#: The distributions of the cases of method.md §4.
PLANE = ([0.0, 0.0], [[1.0, 0.3], [0.3, 0.5]])
LEFT, RIGHT = ([-1.0], [[0.025]]), ([1.0], [[0.5]])
#: What else the point-wise KL is measured between.
NARROW, TILTED = ([-0.66], [[0.105]]), ([0.8, 0.6], [[0.6, -0.2], [-0.2, 0.9]])
GAUSSIANS = {"plane": PLANE, "left": LEFT, "right": RIGHT, "narrow": NARROW, "tilted": TILTED}
#: Three of one covariance, and three of covariances of their own; each of the three binds in their AND.
SHIFTED = [(mean, PLANE[1]) for mean in ([-1.0, -0.3], [1.2, 0.0], [-0.3, 0.9])]
CORNERS = [
    ([-1.0, 0.0], [[0.6, 0.2], [0.2, 0.4]]),
    ([1.0, 0.3], [[0.3, -0.1], [-0.1, 0.5]]),
    ([0.0, 1.4], [[0.5, 0.0], [0.0, 0.25]]),
]
COUNTS = (178, 182, 177, 183, 18, 18, 181, 17, 174, 180)
CENTRES, WIDTH = torch.linspace(-1.8, 1.8, 10)[:, None], 0.04
ISLANDS, WIDTHS = torch.tensor([[-1.5, -1.0], [1.5, -1.0], [0.0, 1.5]]), torch.tensor([0.1, 0.15, 0.2])


def signals() -> Tensor:
    """The cumulative alphas [T] of the schedule that the cases use."""
    base = {"name": "x", "formulation": "alignment", "model": {"call": "a:b", "shape": [2]}, "train": {"steps": 1}}
    schedule = noise_schedule(Recipe.model_validate({**base, "schedule": {"timesteps": T}}), (2,))
    signal: Tensor = schedule.alphas_cumprod.double()
    return signal


def affine(scale: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """scale[t] x, [B, d], of a table [T, d, d]; one product of matrices where all of x is at one timestep, as in a chain."""
    if bool((t == t[0]).all()):
        return x @ scale[t[0]].T
    return torch.einsum("bij,bj->bi", scale[t], x)


def at(table: Tensor, t: Tensor) -> Tensor:
    """table[t], [B, ...], broadcast over the batch where all of it is at one timestep."""
    return table[t[0]] if bool((t == t[0]).all()) else table[t]


class Gaussian(nn.Module):
    """The noise predictor of N(mean, covariance), affine in x: sqrt(1 - a) (a S + (1 - a) I)^-1 (x - sqrt(a) m)."""

    def __init__(self, mean: list[float], covariance: list[list[float]], train_scale: bool = False) -> None:
        super().__init__()
        a, m, s = signals(), torch.tensor(mean).double(), torch.tensor(covariance).double()
        identity = torch.eye(len(mean), dtype=torch.double)
        scale = torch.stack([(1 - each) ** 0.5 * torch.linalg.inv(each * s + (1 - each) * identity) for each in a])
        offset = -torch.einsum("tij,j->ti", scale, m) * a[:, None].sqrt()
        self.scale = nn.Parameter(scale.float(), requires_grad=train_scale)
        self.offset = nn.Parameter(offset.float())

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return affine(self.scale, x, t) + at(self.offset, t)


class Mixture(nn.Module):
    """The noise predictor of a mixture of N(centre_k, width_k^2 I), whose weights are trained."""

    def __init__(self, centres: Tensor, widths: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(len(centres)))
        self.centres, self.widths, self.signals = centres, widths, signals().float()

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        signal = self.signals[t][:, None]
        variance = signal * self.widths**2 + 1 - signal  # [B, K]
        away = x[:, None, :] - signal[:, :, None].sqrt() * self.centres  # [B, K, d]
        log = -away.square().sum(2) / (2 * variance) - 0.5 * x.shape[1] * variance.log() + self.logits.log_softmax(0)
        return (1 - signal).sqrt() * (log.softmax(1)[:, :, None] * away / variance[:, :, None]).sum(1)

    def shares(self) -> list[float]:
        return [float(each) for each in self.logits.softmax(0)]


plane, left, right, narrow, tilted = (partial(Gaussian, *each) for each in GAUSSIANS.values())


#: Gaussians in the plane, to be composed: the first two differ in their means alone.
OVALS = (
    ([-0.6, -0.3], [[0.30, 0.10], [0.10, 0.20]]),
    ([0.6, 0.3], [[0.30, 0.10], [0.10, 0.20]]),
    ([-0.8, 1.2], [[0.50, -0.20], [-0.20, 0.40]]),
)


oval_0, oval_1, oval_2 = (partial(Gaussian, *each) for each in OVALS)


def anything() -> Gaussian:
    """What the ovals are concepts of."""
    return Gaussian([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]])


def line() -> nn.Module:
    """Any Gaussian on the line, to be trained from a standard normal."""
    return Gaussian([0.0], [[1.0]], train_scale=True)


def classes() -> nn.Module:
    return Mixture(CENTRES, torch.full((len(CENTRES),), WIDTH))


def islands() -> nn.Module:
    return Mixture(ISLANDS, WIDTHS)


def _island(number: int) -> nn.Module:
    width = float(WIDTHS[number])
    return Gaussian(ISLANDS[number].tolist(), [[width**2, 0.0], [0.0, width**2]])


island_0, island_1, island_2 = (partial(_island, number) for number in range(3))
shifted_0, shifted_1, shifted_2 = (partial(Gaussian, *each) for each in SHIFTED)
corner_0, corner_1, corner_2 = (partial(Gaussian, *each) for each in CORNERS)


def _points(mean: list[float], covariance: list[list[float]]) -> list[Tensor]:
    """A data set whose mean and covariance are those of the Gaussian, exactly."""
    x = torch.randn(8192, len(mean), generator=torch.Generator().manual_seed(0), dtype=torch.double)
    x = x - x.mean(0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(x.T @ x / len(x)), x.T, upper=False).T
    return list((torch.tensor(mean) + white @ torch.linalg.cholesky(torch.tensor(covariance).double()).T).float())


narrow_points, plane_points = partial(_points, *NARROW), partial(_points, *PLANE)


def digits_like() -> list[tuple[Tensor, int]]:
    """Ten separated classes on a line with the counts of method.md §4; the data of `data: {call: …}`."""
    source = torch.Generator().manual_seed(0)
    examples = []
    for label, count in enumerate(COUNTS):
        x = torch.randn(count, 1, generator=source)
        x = (x - x.mean()) / x.std(correction=0)  # a class's few examples have its exact mean and width
        examples += [(CENTRES[label] + WIDTH * each, label) for each in x]
    return examples


def first(x: Tensor) -> Tensor:
    return x[:, 0]


def second(x: Tensor) -> Tensor:
    return x[:, 1]


def both(x: Tensor) -> Tensor:
    return x.sum(1)


def black_box_first(x: Tensor) -> Tensor:
    return torch.from_numpy(x.detach().cpu().numpy()[:, 0].copy())


def black_box_second(x: Tensor) -> Tensor:
    return torch.from_numpy(x.detach().cpu().numpy()[:, 1].copy())


def black_box_both(x: Tensor) -> Tensor:
    return torch.from_numpy(x.detach().cpu().numpy().sum(1))


def bounded(x: Tensor) -> Tensor:
    """Below 1 everywhere."""
    return torch.tanh(x[:, 0])


def free_plane() -> nn.Module:
    """Any Gaussian in the plane, to be trained from a standard normal."""
    return Gaussian([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]], train_scale=True)


#: Where the log-reward of `bowl` is largest, and the negative of its curvature.
BOWL = ([0.5, -0.4], [[2.5, 0.8], [0.8, 1.6]])


def bowl(x: Tensor) -> Tensor:
    """-(x - m)^T P (x - m) / 2: exp(beta r) is N(m, (beta P)^-1), up to a constant."""
    away = (x - torch.tensor(BOWL[0])).detach()
    return -0.5 * torch.einsum("bi,ij,bj->b", away, torch.tensor(BOWL[1]), away)


class TiltedPlane(nn.Module):
    """The noise predictor of N(m + W λ, S), affine in x: that of the plane, whose mean the multipliers move; W is trained."""

    def __init__(self, count: int) -> None:
        super().__init__()
        start = Gaussian(*PLANE)
        self.register_buffer("scale", start.scale.detach())
        self.offset = nn.Parameter(start.offset.detach().clone())
        self.tilt = nn.Parameter(torch.zeros(T, count, 2))

    def forward(self, x: Tensor, t: Tensor, multipliers: Tensor | None = None) -> Tensor:
        noise = affine(self.get_buffer("scale"), x, t) + at(self.offset, t)
        return noise if multipliers is None else noise + affine(self.tilt.mT, multipliers, t)


tilted_plane_1, tilted_plane_2 = partial(TiltedPlane, 1), partial(TiltedPlane, 2)


class ShrunkPlane(nn.Module):
    """A Gaussian with the plane's covariance and another mean, whose offset the multiplier λ takes back as λ / (1 + λ)."""

    def __init__(self) -> None:
        super().__init__()
        start = Gaussian(*AWAY)
        self.register_buffer("scale", start.scale.detach())
        self.offset = nn.Parameter(start.offset.detach().clone())
        self.back = nn.Parameter(torch.zeros_like(start.offset))

    def forward(self, x: Tensor, t: Tensor, multipliers: Tensor | None = None) -> Tensor:
        noise = affine(self.get_buffer("scale"), x, t) + at(self.offset, t)
        return noise if multipliers is None else noise + multipliers / (1 + multipliers) * at(self.back, t)


#: The plane's covariance about another mean.
AWAY = ([1.5, -1.0], PLANE[1])


class SideJudge:
    """Whether a point of the plane lies to the right, with errors: it says so of 9 in 10 that do, and of 3 in 10 that do not."""

    def probabilities(self, x: Tensor) -> Tensor:
        right = 0.3 + 0.6 * (8.0 * x[:, :1]).sigmoid()
        return torch.cat([1.0 - right, right], dim=1)


def sided_points() -> tuple[Tensor, list[str]]:
    x = torch.stack(plane_points())
    return x, ["right" if first > 0 else "left" for first in x[:, 0].tolist()]


class IslandJudge:
    """Tells the islands apart by their distance, and errs in a known way: column k of `ERRS` is what it says of island k."""

    ERRS = torch.tensor([[0.8, 0.15, 0.0], [0.1, 0.8, 0.1], [0.1, 0.05, 0.9]])

    def probabilities(self, x: Tensor) -> Tensor:
        nearest = (-8.0 * (x[:, None, :] - ISLANDS.to(x)).square().sum(2)).softmax(1)
        return nearest @ self.ERRS.T.to(x)


def labelled_islands() -> tuple[Tensor, list[int]]:
    """Points of the islands, as many of each."""
    source = torch.Generator().manual_seed(1)
    labels = [k for k in range(3) for _ in range(500)]
    return ISLANDS[labels] + WIDTHS[labels, None] * torch.randn(1500, 2, generator=source), labels
