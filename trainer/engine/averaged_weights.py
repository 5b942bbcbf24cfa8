"""The exponential moving average of a model's weights, by which it is evaluated and delivered."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn


class AveragedWeights:
    """Averages of `parameters`, by the decay min(`decay`, (1 + n) / (10 + n)) after n updates.

    With it short runs aren't ruled by their first weights. All tensors at once: no more than a few kernels an update.
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        self._parameters, self._decay = list(parameters), decay
        self.tensors = [parameter.detach().clone() for parameter in self._parameters]
        self.updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Takes the present weights into the averages; the first update makes them the averages."""
        n, self.updates = self.updates, self.updates + 1
        decay = min(self._decay, (1 + n) / (10 + n)) if n else 0.0
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        average(self.tensors, self._parameters, n)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The averages stand where the weights do; the weights come back afterwards."""
        kept = [parameter.detach().clone() for parameter in self._parameters]
        self._put(self.tensors)
        try:
            yield
        finally:
            self._put(kept)

    @torch.no_grad()
    def _put(self, values: Sequence[Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)
