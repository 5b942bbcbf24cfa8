"""The gradients of some parameters as few stretches of memory, each zeroed, measured and shortened by one call.

A network has hundreds of parameters, most of them small: a call for each costs more than what it does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


class Gradients:
    """The gradients of `parameters`, which stay where they are from step to step.

    Laid out here unless that is somebody else's (`laid` false): DDP has its own stretches. A gradient that lies in none by itself
    is dealt with by itself. `norm` makes of the norm of what is here that of all, where other workers have more of them.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], *, laid: bool, norm: Callable[[Tensor], Tensor] = lambda own: own
    ) -> None:  # fmt: skip
        self._parameters, self._norm = list(parameters), norm
        self._places: tuple[int, ...] = ()
        self._stretches: list[Tensor] = []
        if laid:
            _lay(self._parameters)
        self._find()

    def zero(self) -> None:
        """Sets all of them to 0, those that are there."""
        for stretch in self.whole:
            stretch.zero_()

    def shortened(self, most: float) -> Tensor:
        """Shortens them together where their norm is larger than `most`; returns the norm before, a scalar on the device."""
        norms = [torch.linalg.vector_norm(stretch) for stretch in self.whole]
        norm = self._norm(torch.linalg.vector_norm(torch.stack(norms)) if len(norms) != 1 else norms[0])
        if math.isfinite(most):
            factor = (most / (norm + 1e-6)).clamp(max=1.0)  # as torch.nn.utils.clip_grad_norm_
            for stretch in self._stretches:
                stretch.mul_(factor)
        return norm

    @property
    def whole(self) -> list[Tensor]:
        """All of them: the stretches, and those that lie in none by themselves."""
        self._find()
        return self._stretches

    def _find(self) -> None:
        """Looks for stretches where gradients have moved, all of them: DDP lays its own out anew after its first step."""
        some = (self._parameters[0].grad, self._parameters[len(self._parameters) // 2].grad, self._parameters[-1].grad)
        places = tuple(0 if each is None else each.data_ptr() for each in some)
        if self._stretches and places == self._places:
            return
        self._places, self._stretches = places, []
        by_storage: dict[int, list[Tensor]] = {}
        for gradient in (each.grad for each in self._parameters):
            if gradient is not None:
                by_storage.setdefault(gradient.untyped_storage().data_ptr(), []).append(gradient)
        for together in by_storage.values():
            storage, first = together[0].untyped_storage(), together[0]
            if sum(each.numel() * each.element_size() for each in together) == storage.nbytes():
                together = [torch.empty(0, dtype=first.dtype, device=first.device).set_(storage)]
            self._stretches += together


def _lay(parameters: Sequence[nn.Parameter]) -> None:
    """Gives parameters gradients of 0 that lie one after another, for each type and device; in the parameters' own strides."""
    alike: dict[tuple[torch.dtype, torch.device], list[nn.Parameter]] = {}
    for parameter in parameters:
        if parameter.is_contiguous() or parameter.is_contiguous(memory_format=torch.channels_last):
            alike.setdefault((parameter.dtype, parameter.device), []).append(parameter)
    for (dtype, device), together in alike.items():
        stretch, start = torch.zeros(sum(each.numel() for each in together), dtype=dtype, device=device), 0
        for parameter in together:
            parameter.grad = stretch.as_strided(parameter.size(), parameter.stride(), start)
            start += parameter.numel()
