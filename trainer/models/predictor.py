"""Any model as one function of (x, t): what it is conditioned on is bound to it, once for all samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from trainer.models.flow import is_flow, levels


class Condition(nn.Module):
    """What a network is given beside (x, t): keyword arguments [1, ...] for every sample alike.

    `without` are those of the unconditional prediction, for guidance; None where the network has none.
    """

    def __init__(self, given: Mapping[str, Tensor], without: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.names = tuple(given)
        self.has_unconditional = without is not None
        for key, values in (("given", given), ("without", without or {})):
            for name, value in values.items():
                self.register_buffer(f"{key}_{name}", value)

    def arguments(self, count: int, kind: str = "given") -> dict[str, Tensor]:
        """Keyword arguments [count, ...], `given` or `without`."""
        found = {name: self.get_buffer(f"{kind}_{name}") for name in self.names}
        return {name: value.expand(count, *value.shape[1:]) for name, value in found.items()}


class Predictor(nn.Module):
    """Any model as one function: x [B, *shape] and t [B] (integers in 0..T-1) to a prediction [B, *shape].

    `guidance` is the scale w of classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598, in diffusers' convention:
    1 is none). Terms on noised examples ask the model as it is; sampling and trajectories ask `guided`.
    """

    levels: Tensor | None

    def __init__(self, inner: nn.Module, condition: Condition | None = None, guidance: float = 1.0) -> None:
        super().__init__()
        self.inner, self.condition, self.guidance = inner, condition, guidance
        self.register_buffer("levels", None)

    def under(self, schedule: DDPMScheduler) -> Self:
        """This model under a schedule: with one of flow matching, its network's velocities are turned into v-predictions."""
        self.levels = levels(schedule) if is_flow(schedule) else None
        return self

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self._ask(x, t, self.condition.arguments(len(x)) if self.condition is not None else {})

    def guided(self, x: Tensor, t: Tensor) -> Tensor:
        """The prediction [B, *shape] with the model's own guidance."""
        return self.led(x, t, self.guidance)

    @property
    def has_unconditional(self) -> bool:
        """Whether there is an unconditional prediction beside the one that is given the condition."""
        return self.condition is not None and self.condition.has_unconditional

    def led(self, x: Tensor, t: Tensor, guidance: float) -> Tensor:
        """without + w (given - without), [B, *shape], for the guidance w; both from one pass."""
        if guidance == 1.0 or self.condition is None:
            prediction: Tensor = self(x, t)
            return prediction
        given, without = self.condition.arguments(len(x)), self.condition.arguments(len(x), "without")
        both = {name: torch.cat([without[name], given[name]]) for name in given}
        unconditional, conditional = self._ask(torch.cat([x, x]), torch.cat([t, t]), both).chunk(2)
        return unconditional + guidance * (conditional - unconditional)

    def _ask(self, x: Tensor, t: Tensor, arguments: Mapping[str, Tensor]) -> Tensor:
        if self.levels is None:
            return self._network(x, t, arguments)
        s = self.levels[t].view(-1, *[1] * (x.ndim - 1)).to(x.dtype)
        scale = ((1 - s).square() + s.square()).sqrt()
        velocity = self._network(scale * x, self.levels[t] * len(self.levels), arguments)
        return (1 - 2 * s) * x + scale * velocity

    def _network(self, x: Tensor, t: Tensor, arguments: Mapping[str, Tensor]) -> Tensor:
        output = self.inner(x, t, **arguments)
        result: Tensor = output.sample if hasattr(output, "sample") else output
        # A model that predicts its variance too (Nichol & Dhariwal 2021, arXiv 2102.09672) gives the mean first.
        learns_variance = result.ndim == x.ndim and result.ndim > 1 and result.shape[1] == 2 * x.shape[1]
        return result[:, : x.shape[1]] if learns_variance else result

    @property
    def adapted(self) -> bool:
        """Whether the network's own weights are frozen under an adapter."""
        return bool(getattr(self.inner, "peft_config", None))

    def stored(self) -> dict[str, Tensor]:
        """The weights that training changes: all, or those of the adapter."""
        weights = self.inner.state_dict()
        return {name: value for name, value in weights.items() if "lora_" in name} if self.adapted else weights

    def put_back(self, weights: Mapping[str, Tensor]) -> None:
        """Loads what `stored` returned."""
        _, unexpected = self.inner.load_state_dict(weights, strict=not self.adapted)
        if unexpected:
            raise KeyError(f"weights must be of the model's adapter, but got {unexpected[0]}")
