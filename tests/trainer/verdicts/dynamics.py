"""Primal-dual dynamics with a known critical step size: the model of `trainer/verdicts/oscillation.py`, noise and projection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EVERY = 5  # dual steps between points


@dataclass(frozen=True)
class Dynamics:
    """A slack that catches up with the multiplier at `rate`, with dual curvature 1 and optimal multiplier `target`.

    Critical damping is at the step size rate / 4. Measured slacks have `noise`; a multiplier is used `delay` dual steps late.
    """

    rate: float = 0.1
    target: float = 1.0
    noise: float = 0.3
    delay: int = 0
    start: float = 0.0
    cap: float = 100.0

    @property
    def critical(self) -> float:
        return self.rate / 4

    def run(self, step_size: float, steps: int, seed: int = 0) -> dict[str, list[tuple[int, float]]]:
        """Histories of the constraint `c`, a point every `EVERY` dual steps, as a training logs them."""
        slack, queue = self.start - self.target, [self.start] * (1 + self.delay)
        multipliers, slacks = [], []
        for noise in (self.noise * np.random.default_rng(seed).standard_normal(steps)).tolist():
            measured = slack + noise
            slack = (1 - self.rate) * slack + self.rate * (queue[0] - self.target)
            queue = [*queue[1:], min(max(queue[-1] - step_size * measured, 0.0), self.cap)]
            multipliers.append(queue[-1])
            slacks.append(measured)
        windows = np.reshape(slacks, (-1, EVERY))
        columns = {
            "multiplier/c": multipliers[EVERY - 1 :: EVERY],
            "slack/c": windows.mean(1),
            "slack_error/c": windows.std(1) / np.sqrt(EVERY - 1),
        }
        return {key: [((i + 1) * EVERY, float(value)) for i, value in enumerate(column)] for key, column in columns.items()}


def tail(histories: dict[str, list[tuple[int, float]]]) -> np.ndarray:
    multipliers = np.array([value for _, value in histories["multiplier/c"]])
    return multipliers[len(multipliers) * 2 // 5 :]
