"""The exponential moving average of a model's weights, by which it is evaluated and delivered."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.optim.sgd import sgd

from dualsweep.trainer.engine.averaging import Share


class AveragedWeights:
    """Averages of `parameters`, of whose present values an update takes the `share`.

    All tensors at once: no more than a few kernels an update.
    """

    def __init__(self, parameters: Sequence[Tensor], share: Share) -> None:
        self._parameters, self._share = [parameter.detach() for parameter in parameters], share
        self.tensors = [parameter.clone() for parameter in self._parameters]
        self._updates = torch.zeros((), device=self.tensors[0].device)

    @property
    def updates(self) -> int:
        """How many there were. Waits for the device, which alone knows which ones were void."""
        return int(self._updates)

    @updates.setter
    def updates(self, number: int) -> None:
        self._updates.fill_(number)

    @torch.no_grad()
    def update(self, void: Tensor) -> None:
        """Takes the present weights into the averages; the first update makes them the averages. Nothing moves where `void` is 1.

        A step of gradient descent on half the squared distance to the weights, of the size of the share: as torch's is fused, it
        neither waits to know whether it is void nor needs room for the differences.
        """
        sgd(
            self.tensors, self._parameters, [None] * len(self.tensors), fused=True, found_inf=void,
            lr=self._share(self._updates),  # type: ignore[arg-type]  # a tensor on the device is what the fused form is made for
            weight_decay=1.0, maximize=True,  # the gradient: 1 * average - weight
            momentum=0.0, dampening=0.0, nesterov=False,
        )  # fmt: skip
        self._updates += 1 - void

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The averages stand where the weights do; the weights come back afterwards."""
        kept = [parameter.clone() for parameter in self._parameters]
        self._put(self.tensors)
        try:
            yield
        finally:
            self._put(kept)

    @torch.no_grad()
    def _put(self, values: Sequence[Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)
