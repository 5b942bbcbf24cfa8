"""A network conditioned on multipliers: their embedding is added where its own embedding of the timestep ends.

All networks of diffusers that are understood here turn the timestep into features by a `TimestepEmbedding`, whose last layer is
linear: the embedding of the multipliers is added to that layer's output. So it works alike in all of them, the network's files
stay those of diffusers, and for fixed multipliers the embedding is one vector that its bias takes up (`bind`).

The embedding is zero at multipliers of zero whatever its weights, so the network alone is the model without constraints; and zero
everywhere before it is trained, so training starts from the network as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.kinds import is_a
from dualsweep.trainer.rng import Stream, generator

#: Units of the embedding's hidden layers.
WIDTH = 128


class Conditioning(nn.Module):
    """The embedding of multipliers [n, m] for every place of a network where it is added.

    `low` and `high` [m] are the range that it is made for; `sizes` are the widths of the places.
    """

    low: Tensor
    high: Tensor

    def __init__(self, low: Vector, high: Vector, sizes: Sequence[int]) -> None:
        super().__init__()
        # Not in the state: they are the recipe's.
        self.register_buffer("low", torch.tensor(low, dtype=torch.float32), persistent=False)
        self.register_buffer("high", torch.tensor(high, dtype=torch.float32), persistent=False)
        self.body = nn.Sequential(nn.Linear(2 * len(low), WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU())
        heads = [nn.Linear(WIDTH, size, bias=False) for size in sizes]
        for head in heads:
            nn.init.zeros_(head.weight)
        self.heads = nn.ModuleList(heads)
        self._added: list[Tensor] = []

    def forward(self, multipliers: Tensor) -> list[Tensor]:
        """What is added at each place, [n, size]; 0 for multipliers of 0."""
        logarithmic = torch.log1p(multipliers / self.low) / torch.log1p(self.high / self.low)
        features = torch.cat([logarithmic, multipliers / self.high], dim=-1)
        hidden = self.body(features) - self.body(torch.zeros_like(features[:1]))
        return [head(hidden) for head in self.heads]

    def attach(self, network: nn.Module) -> None:
        """Adds at every place of `network` what the last call of `ask` was for."""
        for number, place in enumerate(places(network)):
            place.register_forward_hook(self._adder(number))

    def ask(self, multipliers: Tensor | None) -> None:
        """The multipliers [n, m] of the network's next pass, n its batch or 1; none is none at all."""
        self._added = [] if multipliers is None else self(multipliers)

    def _adder(self, number: int) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]:
        def add(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            return output + self._added[number].to(output.dtype) if self._added else None

        return add


def places(network: nn.Module) -> list[nn.Linear]:
    """The last layers of a network's embeddings of the timestep."""
    found = [
        each.linear_2
        for name, each in network.named_modules()
        if is_a(each, "TimestepEmbedding") and name.rpartition(".")[2].startswith("time")
    ]
    return [getattr(each, "base_layer", each) for each in found]  # a layer under an adapter


def condition(network: nn.Module, low: Vector, high: Vector, seed: int) -> Conditioning:
    """A new conditioning of `network`, attached to it; its weights are a function of the seed.

    Raises:
        TrainingError: the network has no embedding of the timestep.
    """
    found = places(network)
    if not found:
        raise TrainingError(
            f"a model must have a TimestepEmbedding of diffusers, or take a third argument `multipliers`, to be amortised, but "
            f"got a {type(network).__name__} with neither; write forward(x, t, multipliers=None)"
        )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(generator(seed, Stream.WEIGHTS, 2).integers(2**63)))
        made = Conditioning(low, high, [each.out_features for each in found])
    made.attach(network)
    return made


def bind(network: nn.Module, weights: Mapping[str, Tensor], low: Vector, high: Vector, multipliers: Vector) -> None:
    """Makes `network` the plain one for these multipliers [m]; the tensors it had are left as they are, others may hold them."""
    layers = places(network)
    conditioning = Conditioning(low, high, [each.out_features for each in layers])
    conditioning.load_state_dict(dict(weights))
    with torch.no_grad():
        for place, added in zip(layers, conditioning(torch.tensor(multipliers, dtype=torch.float32)[None]), strict=True):
            before = place.bias if place.bias is not None else torch.zeros(place.out_features)
            wanted = place.weight.requires_grad
            place.bias = nn.Parameter(before + added[0].to(before), requires_grad=wanted)
