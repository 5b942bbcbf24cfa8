"""The chain of alignment: what is measured is what is delivered."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dualsweep.trainer.samplers.chain import steps_of
from tests.benchmarks.coverage import Row
from tests.known.delivered import NARROW, Line, aligned, moments, rewarded, schedule_of

TIMESTEPS = (50, 100, 200, 300, 1000)
WIDTHS = (0.1, NARROW, 0.2, 0.5, 1.0)
GRADIENTS = ("backpropagation", "policy_gradient", "dag")


def rows(scale: float) -> Iterator[Row]:
    for count, within in ((15, 0.20), (40, 0.10)):
        away = np.array([_width(timesteps, count, width) for timesteps in TIMESTEPS for width in WIDTHS])
        claim = f"sd of the pretrained chain's samples / the data's, {count} steps, N(-1, .1^2 to 1), T = 50 to 1,000"
        yield Row(claim, f"within {within:.0%} of 1", f"{away.min():.3f} to {away.max():.3f}", bool(abs(away - 1).max() < within))
    for count in (6, 10, 15, 40):
        kls = aligned(0, 1.0, count, 400)
        last, most = kls[-1, 1] / kls[-1, 0], (kls[:, 1] / kls[:, 0]).max()
        claim = f"KL of samples / reported, N(-1, .025), {count} steps, eta = 1: at the optimum; largest on the way"
        yield Row(claim, "0.90 to 1.05; at most 1.05", f"{last:.3f}; {most:.3f}", bool(0.90 <= last <= 1.05 and most <= 1.05))
    for eta in (0.2, 0.5):
        most = max((kls[:, 1] / kls[:, 0]).max() for kls in (aligned(0, eta, count, 200, price=20.0) for count in (6, 15, 40)))
        yield Row(f"the same, eta = {eta}, 6, 15 and 40 steps: largest", "at most 1.05", f"{most:.3f}", bool(most <= 1.05))
    seeds = max(3, round(20 * scale))
    for gradient in GRADIENTS:
        away = np.array([_reward(seed, gradient) for seed in range(seeds)])
        shown = f"{abs(away).max():.2f} (rms {np.sqrt((away**2).mean()):.2f})"
        claim = f"reported reward less that of 20,000 fresh samples, in errors, {gradient}, {seeds} seeds: largest"
        yield Row(claim, "at most 4", shown, bool(abs(away).max() <= 4))


def _width(timesteps: int, count: int, width: float) -> float:
    schedule = schedule_of(timesteps)
    return float(moments(Line(schedule, -1.0, width), steps_of(schedule, count, 1.0))[1][0, 0] ** 0.5 / width)


def _reward(seed: int, gradient: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        found = rewarded(seed, gradient, Path(folder))
    return (found.reported - found.fresh) / (2**0.5 * found.error)
