"""Which updates were void, as the device says at dual steps: bad inputs are then an error, and bad updates in a row counted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.sources.base import Inputs, SourceStep


class UpdateLog:
    """The updates since the last reading, of which only the device knows whether their gradients were finite.

    bad  updates in a row, up to the last that was read, that a non-finite gradient made void
    most  the longest such row that reached into the last reading
    """

    def __init__(self) -> None:
        self.bad, self.most = 0, 0
        self._unread: list[tuple[int, Tensor, list[Inputs]]] = []

    def add(self, step: int, norm: Tensor, steps: Sequence[SourceStep]) -> None:
        """An update of primal step `step` with the gradient's norm, a scalar on the device."""
        inputs = [kept for each in steps if (kept := each.inputs()) is not None]
        self._unread.append((step, norm.detach(), inputs))

    def read(self) -> None:
        """Waits for the device.

        Raises:
            TrainingError: inputs were not finite, which made an update void, or a reward was not.
        """
        unread, self._unread, self.most = self._unread, [], self.bad
        norms = torch.stack([norm for _, norm, _ in unread]).cpu().numpy() if unread else np.empty(0)
        for (step, _, inputs), finite in zip(unread, np.isfinite(norms), strict=True):
            self.bad = 0 if finite else self.bad + 1
            self.most = max(self.most, self.bad)
            suspected = [each for each in inputs if each.always or not finite]
            if error := next(filter(None, (each.error() for each in suspected)), None):
                raise TrainingError(f"{error} (step {step})")
